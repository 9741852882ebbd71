"""Every record is accepted or rejected with a reason, whatever it looks like."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.connectors.columns import convert, plain_column
from pipeline.connectors.contract import CUSTOMERS, ENTITIES, EVENTS, PAYMENTS, TICKETS, Entity, Field, FieldKind
from pipeline.connectors.errors import Unreadable
from pipeline.connectors.validation import Reading, validate_records, validate_table
from pipeline.connectors.values import LONGEST_IDENTIFIER, read_value

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2025, 6, 1, tzinfo=UTC)
READING = Reading(time_zone=BERLIN, now=NOW)


def payment(**changes: Any) -> dict[str, Any]:
    fields = {
        "payment_id": "p1",
        "customer_id": "c1",
        "kind": "charge",
        "amount": "12.50",
        "issued_at": "2025-01-02T03:04:05Z",
        "updated_at": "2025-01-02T03:04:05Z",
    }
    return fields | changes


def event(**changes: Any) -> dict[str, Any]:
    at = "2025-01-02T03:04:05Z"
    return {"event_id": "e1", "customer_id": "c1", "name": "session", "occurred_at": at, "updated_at": at} | changes


def only_reason(entity: Entity, record: object) -> str:
    chunk = validate_records(entity, [record], READING)
    assert chunk.accepted.num_rows == 0
    (rejected,) = chunk.rejected
    return rejected.reason


def test_a_good_record_arrives_in_the_contracts_types() -> None:
    chunk = validate_records(PAYMENTS, [payment(coupon="SPRING")], READING)
    (row,) = chunk.accepted.to_pylist()
    assert chunk.accepted.schema == PAYMENTS.schema
    assert row["amount"] == Decimal("12.5000")
    assert row["issued_at"] == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert row["is_deleted"] is False
    assert json.loads(row["attributes"]) == {"coupon": "SPRING"}
    assert chunk.cursor == row["updated_at"]


@pytest.mark.parametrize("name", ["customer_id", "name", "occurred_at"])
def test_an_event_without_its_customer_name_or_time_is_rejected(name: str) -> None:
    assert only_reason(EVENTS, event(**{name: None})) == f"{name} is missing"


@pytest.mark.parametrize("amount", [None, "-3.5", 0])
def test_an_events_amount_measures_whatever_it_counts(amount: object) -> None:
    (row,) = validate_records(EVENTS, [event(amount=amount)], READING).accepted.to_pylist()
    assert row["amount"] == (None if amount is None else Decimal(str(amount)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"payment_id": None}, "payment_id is missing"),
        ({"payment_id": "  "}, "payment_id is missing"),
        ({"payment_id": {"a": 1}}, "payment_id an object is not a single value"),
        ({"payment_id": "x" * 201}, "is longer than 200 characters"),
        ({"payment_id": "a\0b"}, r'payment_id "a\x00b" holds a NUL character'),
        ({"payment_id": "a\ud800b"}, "is not valid Unicode text"),
        ({"payment_id": True}, "is not an id"),
        ({"customer_id": ""}, "customer_id is missing"),
        ({"amount": "twelve"}, 'amount "twelve" is not a number'),
        ({"amount": "12,50"}, 'amount "12,50" is not a number'),
        ({"amount": "1_000"}, "is not a number"),
        ({"amount": "٣"}, "is not a number"),
        ({"amount": True}, "is not a number"),
        ({"amount": float("nan")}, 'amount "nan" is not a number'),
        ({"amount": float("inf")}, 'amount "inf" is not a number'),
        ({"amount": "NaN"}, 'amount "NaN" is not a number'),
        ({"amount": "1e99"}, "is too large"),
        ({"amount": -1}, "is less than 0"),
        ({"discount_amount": "-0.01"}, 'discount_amount "-0.0100" is less than 0'),
        ({"amount": None}, "amount is missing"),
        ({"kind": "gift"}, 'kind "gift" is unknown; it must be one of charge, refund'),
        ({"status": "maybe"}, 'status "maybe" is unknown'),
        ({"issued_at": "yesterday"}, 'issued_at "yesterday" is not a date and time (ISO 8601)'),
        ({"issued_at": 1735689600}, "is not a date and time"),
        ({"issued_at": "2025-02-30"}, "is not a date and time"),
        ({"due_at": "0001-01-01T00:00:00Z"}, "is not between the years 1900 and 2200"),
        ({"due_at": "9999-12-31T23:59:59-14:00"}, "is not a believable date"),
        ({"updated_at": "2031-01-01T00:00:00Z"}, "lies after now"),
        ({"failed_attempts": 1.5}, "is not a whole number"),
        ({"failed_attempts": "0x10"}, "is not a number"),
        ({"failed_attempts": -1}, "is not between 0 and 10000"),
        ({"failed_attempts": 2**40}, "is too large"),
        ({"is_deleted": "maybe"}, "is neither true nor false"),
        ({"note": "a\0b"}, "an unmapped field holds a NUL character"),
        ({"note": {"deep": ["a\ud800"]}}, "an unmapped field cannot be kept as JSON"),
    ],
)
def test_a_record_that_breaks_the_contract_is_rejected_with_its_own_reason(
    changes: dict[str, Any], reason: str
) -> None:
    assert reason in only_reason(PAYMENTS, payment(**changes))


@pytest.mark.parametrize("satisfaction", [0, 6, "-3"])
def test_satisfaction_out_of_range_is_rejected(satisfaction: object) -> None:
    ticket = {"ticket_id": 1, "customer_id": 2, "opened_at": "2025-01-01", "updated_at": "2025-01-01"}
    assert "is not between 1 and 5" in only_reason(TICKETS, ticket | {"satisfaction": satisfaction})


def test_one_bad_record_rejects_itself_and_no_other() -> None:
    records = [payment(payment_id=f"p{number}") for number in range(500)]
    records[321]["amount"] = "n/a"
    chunk = validate_records(PAYMENTS, records, READING)
    assert chunk.accepted.num_rows == 499
    assert [(record.record_id, json.loads(record.payload)["amount"]) for record in chunk.rejected] == [("p321", "n/a")]


def test_all_that_is_wrong_with_a_record_stands_in_its_reason() -> None:
    reason = only_reason(PAYMENTS, payment(amount="x", customer_id=None))
    assert reason == 'customer_id is missing; amount "x" is not a number'


def test_a_tombstone_needs_only_its_key_and_updated_at() -> None:
    tombstone = {"payment_id": "p1", "updated_at": "2025-01-01T00:00:00Z", "is_deleted": True}
    chunk = validate_records(PAYMENTS, [tombstone, tombstone | {"payment_id": "p2", "amount": "??"}], READING)
    assert chunk.rejected == ()
    assert chunk.accepted["is_deleted"].to_pylist() == [True, True]
    assert chunk.accepted["amount"].to_pylist() == [None, None]
    assert "updated_at is missing" in only_reason(PAYMENTS, {"payment_id": "p1", "is_deleted": True})


def test_times_without_an_offset_are_read_in_the_companys_zone() -> None:
    chunk = validate_records(
        PAYMENTS,
        [
            payment(payment_id="summer", issued_at="2025-07-01T12:00:00", due_at="2025-07-02"),
            payment(payment_id="winter", issued_at="2025-01-01 12:00:00.5", due_at="2025-01-02T00:00:00+05:30"),
            payment(payment_id="gap", issued_at="2025-03-30T02:30:00", due_at=None),
        ],
        READING,
    )
    assert chunk.accepted["issued_at"].to_pylist() == [
        datetime(2025, 7, 1, 10, tzinfo=UTC),
        datetime(2025, 1, 1, 11, 0, 0, 500_000, tzinfo=UTC),
        datetime(2025, 3, 30, 1, 30, tzinfo=UTC),
    ]
    assert chunk.accepted["due_at"].to_pylist()[:2] == [
        datetime(2025, 7, 1, 22, tzinfo=UTC),
        datetime(2025, 1, 1, 18, 30, tzinfo=UTC),
    ]


def test_exact_repeats_of_a_version_count_as_received_and_are_kept_once() -> None:
    chunk = validate_records(PAYMENTS, [payment(), payment(), payment(payment_id="p2")], READING)
    assert (chunk.received, chunk.accepted.num_rows, len(chunk.rejected)) == (3, 2, 0)


def test_two_versions_with_one_updated_at_are_both_kept_in_the_order_in_which_they_came() -> None:
    chunk = validate_records(PAYMENTS, [payment(), payment(amount="99"), payment()], READING)
    assert chunk.accepted["amount"].to_pylist() == [Decimal("99.0000"), Decimal("12.5000")]
    assert (chunk.received, chunk.clashing, chunk.rejected) == (3, 1, ())


def test_an_unbelievable_updated_at_does_not_move_the_cursor() -> None:
    records = [payment(), payment(payment_id="p2", updated_at="2150-01-01T00:00:00Z")]
    chunk = validate_records(PAYMENTS, records, READING)
    assert chunk.cursor == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert "lies after now" in chunk.rejected[0].reason


def test_for_a_company_with_a_clock_of_its_own_what_lies_ahead_waits() -> None:
    reading = Reading(time_zone=BERLIN, now=datetime(2025, 1, 10, tzinfo=UTC), has_own_clock=True)
    records = [payment(), payment(payment_id="p2", updated_at="2025-01-10T00:00:01Z")]
    chunk = validate_records(PAYMENTS, records, reading)
    assert (chunk.received, chunk.accepted.num_rows, chunk.ahead, chunk.rejected) == (1, 1, 1, ())


def test_numbers_from_databases_and_files_make_the_ids_that_people_see() -> None:
    table = pa.table(
        {
            "payment_id": pa.array([13085.0, 13086.0]),
            "customer_id": pa.array([Decimal("7.00"), Decimal("8.00")]),
            "kind": ["charge", "refund"],
            "amount": pa.array([0.1 + 0.2, 3.0]),
            "issued_at": pa.array([date(2025, 1, 1), date(2025, 1, 2)]),
            "updated_at": pa.array([datetime(2025, 1, 1), datetime(2025, 1, 2)], pa.timestamp("ns")),  # noqa: DTZ001
            "colour": pa.array([b"\x01", None], pa.binary()),
        }
    )
    rows = validate_table(PAYMENTS, table, READING).accepted.to_pylist()
    assert [(row["payment_id"], row["customer_id"], row["amount"]) for row in rows] == [
        ("13085", "7", Decimal("0.3000")),
        ("13086", "8", Decimal("3.0000")),
    ]
    assert json.loads(rows[0]["attributes"]) == {"colour": "AQ=="}


def test_custom_fields_are_spread_and_a_name_that_is_taken_keeps_its_origin() -> None:
    reading = Reading(time_zone=BERLIN, now=NOW, spread="custom")
    record = payment(tier="outer", custom={"tier": "inner", "region": "north"})
    (row,) = validate_records(PAYMENTS, [record], reading).accepted.to_pylist()
    assert json.loads(row["attributes"]) == {"tier": "outer", "custom.tier": "inner", "region": "north"}


def test_constants_stand_in_for_what_is_missing_and_words_are_translated() -> None:
    reading = Reading(
        time_zone=BERLIN,
        now=NOW,
        constants={"currency": "GBP"},
        values={"kind": {"sale": "charge"}},
        ignored=frozenset({"password"}),
    )
    records = [payment(kind="sale", currency="", password="x"), payment(payment_id="p2", currency="USD")]
    rows = validate_records(PAYMENTS, records, reading).accepted.to_pylist()
    assert [(row["kind"], row["currency"], row["attributes"]) for row in rows] == [
        ("charge", "GBP", None),
        ("charge", "USD", None),
    ]


def test_a_constant_never_covers_up_an_unreadable_value() -> None:
    reading = Reading(time_zone=BERLIN, now=NOW, constants={"currency": "GBP"})
    (rejected,) = validate_records(PAYMENTS, [payment(currency=["EUR"])], reading).rejected
    assert rejected.reason == "currency a list is not a single value"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["charge", "2025-01-01T00:00:00Z", "2024-12-31", "12.5", "", "true", "a\0", "\ud800", "1e5"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def json_records(draw: st.DrawFn) -> tuple[Entity, list[object]]:
    entity = draw(st.sampled_from(list(ENTITIES.values())))
    fields = st.sampled_from([*entity.field_names, "custom", "other"])
    shaped = st.dictionaries(fields, json_values, max_size=8)
    good = st.builds(
        lambda number, extra: payment(payment_id=number, **extra),
        st.integers(1, 4),
        st.dictionaries(st.sampled_from(PAYMENTS.field_names[2:]), json_values, max_size=2),
    )
    return entity, draw(st.lists(shaped | good | json_values, max_size=8))


@settings(max_examples=150, deadline=None)
@given(json_records())
def test_whatever_json_comes_no_record_is_lost_and_none_is_both(case: tuple[Entity, list[object]]) -> None:
    entity, records = case
    chunk = validate_records(entity, records, READING)
    assert chunk.received == len(records)
    repeats = chunk.received - chunk.accepted.num_rows - len(chunk.rejected)
    chunks = [validate_records(entity, [record], READING) for record in records]
    acceptable = sum(chunk.accepted.num_rows for chunk in chunks)
    keys = {tuple(chunk.accepted.to_pylist()[0].values())[:2] for chunk in chunks if chunk.accepted.num_rows}
    assert chunk.accepted.num_rows == len(keys)
    assert acceptable - len(keys) == repeats + len(chunk.rejected) - (len(records) - acceptable)
    for rejected in chunk.rejected:
        json.loads(rejected.payload)
        assert rejected.reason
        for text in (rejected.payload, rejected.reason, rejected.record_id or ""):
            assert "\0" not in text
            text.encode()


plain_values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.decimals(allow_nan=False, allow_infinity=False, places=3)
    | st.datetimes().map(lambda moment: moment.isoformat())
    | st.datetimes(timezones=st.sampled_from([UTC, BERLIN])).map(lambda moment: moment.isoformat())
    | st.dates().map(str)
    | st.from_regex(r"\A[0-9T:+. eExXzZ-]{0,12}\Z")
    | st.text(max_size=10)
)


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(list(FieldKind)),
    st.lists(plain_values, min_size=1, max_size=12),
)
@example(FieldKind.identifier, [9007199254740992.0])
@example(FieldKind.identifier, [float("nan"), 1e300])
def test_a_column_read_at_once_says_what_its_values_say_one_by_one(kind: FieldKind, values: list[object]) -> None:
    """The quick way may only be quicker: whether alone or in company, a value reads the same."""
    together, unread = convert(Field("value", kind), plain_column(values), BERLIN)
    for row, value in enumerate(values):
        try:
            expected = read_value(kind, value, BERLIN)
        except Unreadable:
            assert row in unread
        else:
            assert row not in unread
            if kind is not FieldKind.text or not isinstance(value, float | int | Decimal):
                assert together[row].as_py() == expected


def test_ids_up_to_the_limit_are_fine() -> None:
    chunk = validate_records(CUSTOMERS, [customer("x" * LONGEST_IDENTIFIER)], READING)
    assert chunk.accepted.num_rows == 1


def customer(identifier: object) -> dict[str, object]:
    return {"customer_id": identifier, "created_at": "2025-01-01", "updated_at": "2025-01-01"}
