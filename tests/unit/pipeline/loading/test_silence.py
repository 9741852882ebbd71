"""When customers are there where churn is silence, one customer at a time; the SQL is held equal over whole worlds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from pipeline.connectors.contract import ENTITIES
from pipeline.loading.outcomes import versions_of
from pipeline.loading.silence import bills_of, paying_spells
from pipeline.prediction.tasks import ChurnSettings

MONTHLY = [{"paid_at": f"2024-0{month}-10"} for month in (1, 2, 3)]
"""Whose next payment is due on 10 April."""

DUE_TWO_MONTHS_ON = {"issued_at": "2024-06-20", "due_at": "2024-09-01"}


def _spells(bills: list[dict[str, Any]], versions: list[dict[str, Any]], **settings: Any) -> list[tuple[str, str]]:
    """The spells of one customer, as dates. 90 days of silence; a bill is issued when it is paid, if nothing says."""
    churn = ChurnSettings.model_validate({"kind": "inactivity", "inactivity_days": 90} | settings)
    usual = {"customer_id": "c", "is_deleted": False}
    charges = [
        usual | {"payment_id": f"p{number}", "kind": "charge", "issued_at": bill.get("paid_at")} | bill
        for number, bill in enumerate(bills)
    ]
    charges = [charge | {"updated_at": charge.get("paid_at") or charge["issued_at"]} for charge in charges]
    customers = [usual | {"created_at": "2020-01-01", "updated_at": "2020-01-01"} | version for version in versions]
    spells = paying_spells(churn, bills_of(_table("payments", charges)), versions_of(_table("customers", customers)))
    return [
        (f"{begin:%Y-%m-%d}", f"{end:%Y-%m-%d}") for begin, end in zip(spells.begins_at, spells.ends_at, strict=True)
    ]


def _table(entity: str, records: list[dict[str, Any]]) -> pa.Table:
    schema = ENTITIES[entity].schema
    rows = [{name: _moment(name, record.get(name)) for name in schema.names} for record in records]
    return pa.Table.from_pylist(rows, schema)


def _moment(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if name.endswith("_at") and value else value


@pytest.mark.parametrize(
    ("days", "silent_on"),
    [
        (["2023-12-31", "2024-01-31", "2024-02-29"], "2024-06-29"),
        (["2022-12-31", "2023-01-31", "2023-02-28"], "2023-06-29"),
        (["2023-11-29", "2023-12-29", "2024-01-29"], "2024-05-29"),
        (["2020-02-29", "2021-02-28"], "2022-05-29"),
        (["2023-02-28", "2024-02-29"], "2025-05-29"),
        (["2023-01-31", "2023-04-30", "2023-07-31"], "2024-01-29"),
    ],
)
def test_who_pays_at_a_months_end_is_expected_at_one(days: list[str], silent_on: str) -> None:
    assert _spells([{"paid_at": day} for day in days], [{}])[-1][1] == silent_on


@pytest.mark.parametrize(
    ("versions", "silent_on"),
    [
        ([{"paused_at": "2024-03-15", "resumes_at": "2024-06-01"}], "2024-08-30"),
        ([{"paused_at": "2024-03-15", "resumes_at": "2024-02-01"}], "2024-07-09"),
        ([{"paused_at": "2024-03-15"}], "2200-04-01"),
        ([{"status": "Paused"}, {"updated_at": "2024-06-01", "status": "active"}], "2024-08-30"),
        # The end was moved forward, then back: what was said last counts.
        (
            [
                {"paused_at": "2024-03-15", "resumes_at": "2024-12-31"},
                {"updated_at": "2024-04-01", "paused_at": "2024-03-15", "resumes_at": "2024-06-01"},
            ],
            "2024-08-30",
        ),
        (
            [
                {"paused_at": "2024-03-15", "resumes_at": "2024-04-01"},
                {"updated_at": "2024-03-20", "paused_at": "2024-03-15", "resumes_at": "2024-06-01"},
            ],
            "2024-08-30",
        ),
        (
            [
                {"paused_at": "2024-03-15"},
                {"updated_at": "2024-04-01", "paused_at": "2024-03-15", "resumes_at": "2024-06-01"},
            ],
            "2024-08-30",
        ),
        # A pause that was to come was called off.
        (
            [
                {"paused_at": "2024-05-01", "resumes_at": "2024-12-01"},
                {"updated_at": "2024-04-01", "paused_at": None},
            ],
            "2024-07-09",
        ),
    ],
)
def test_a_pause_lasts_as_long_as_was_said_last(versions: list[dict[str, Any]], silent_on: str) -> None:
    """One whose end was moved forward kept the customer until the end that was said first."""
    told = [{}, *({"updated_at": "2024-03-15"} | version for version in versions)]
    assert _spells(MONTHLY, told) == [("2024-01-10", silent_on)]


@pytest.mark.parametrize("never", ["2099-12-31", "1900-01-01"])
def test_a_due_date_that_stands_for_none_is_none(never: str) -> None:
    """A bill due in 2099 kept its customer for 75 years; one due in 1900 sent a yearly customer away in a quarter."""
    unpaid = {"issued_at": "2024-04-10", "due_at": never}
    assert _spells([*MONTHLY, unpaid], [{}]) == [("2024-01-10", "2024-07-09")]
    assert _spells([bill | {"due_at": never} for bill in MONTHLY], [{}]) == [("2024-01-10", "2024-07-09")]
    yearly = {"paid_at": "2024-01-10", "due_at": never}
    assert _spells([yearly], [{"plan": "gold"}], expected_every={"gold": "1 year"}) == [("2024-01-10", "2025-04-10")]


@pytest.mark.parametrize(
    ("following", "silent_on"),
    [
        (DUE_TWO_MONTHS_ON, "2024-11-30"),
        # Too late: the silence was up on 9 July.
        (DUE_TWO_MONTHS_ON | {"issued_at": "2024-07-09"}, "2024-07-09"),
        (DUE_TWO_MONTHS_ON | {"due_at": "2024-04-01"}, "2024-07-09"),
    ],
)
def test_the_bill_that_follows_is_waited_for_if_it_came_in_time(following: dict[str, Any], silent_on: str) -> None:
    """In time is before the silence is up, and not within so many days of the payment, which a year's bill never is."""
    assert _spells([*MONTHLY, following], [{}]) == [("2024-01-10", silent_on)]


@pytest.mark.parametrize(
    ("written_at", "silent_on"),
    [("2024-01-10T00:00:07", "2025-04-10"), ("2024-01-10T23:00", "2025-04-10"), ("2024-01-12", "2024-04-09")],
)
@pytest.mark.parametrize("agreed", [{"contract_end_at": "2025-01-10"}, {"plan": "gold"}])
def test_what_was_agreed_to_with_a_payment_may_be_written_down_after_it(
    agreed: dict[str, Any], written_at: str, silent_on: str
) -> None:
    """A CRM that hears of the payment first called a customer churned who had paid for a year."""
    versions = [{"plan": "free", "contract_end_at": "2024-01-10"}, {"updated_at": written_at} | agreed]
    assert _spells([{"paid_at": "2024-01-10"}], versions, expected_every={"gold": "1 year"}) == [
        ("2024-01-10", silent_on)
    ]


@pytest.mark.parametrize("contract_end_at", ["2023-06-01", "2024-01-10", "2099-12-31", None])
def test_a_contract_that_is_over_or_has_no_end_says_nothing(contract_end_at: str | None) -> None:
    assert _spells([{"paid_at": "2024-01-10"}], [{"contract_end_at": contract_end_at}]) == [
        ("2024-01-10", "2024-04-09")
    ]


def test_a_refund_and_a_void_bill_break_no_silence() -> None:
    later = [{"paid_at": "2024-06-01", "kind": "refund"}, {"paid_at": "2024-06-02", "status": "Void"}]
    assert _spells([*MONTHLY, *later], [{}]) == [("2024-01-10", "2024-07-09")]
