"""Records of the simulated world are as dirty as real ones, and as often as is stated."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from demo.crm.rendering import render
from demo.world.dirt import BATCH_EDITS, RATES, Defect
from demo.world.moments import DAY, STARTING_CLOCK, WORLD_END
from tests.unit.demo.records import column, rows, store, versions

HOLDERS = {**dict.fromkeys(("customers", "tickets", "payments", "events"), "brightdesk"), "sends": "marketlane"}
"""A company with many records of each entity; of campaigns nobody has many."""


def test_some_records_are_edited_long_after(home: Path) -> None:
    payments = rows(home, "brightdesk", "payments")
    age = (column(payments, "updated_at") - column(payments, "created_at")) / DAY
    batches = np.isin(column(payments, "updated_at"), [at for at, _ in BATCH_EDITS["payments"]])
    late = ((age > 60) & ~batches).mean()
    assert RATES.late_payment_edits / 3 < late < RATES.late_payment_edits * 2


@pytest.mark.parametrize(
    ("slug", "entity"),
    [("brightdesk", "customers"), ("brightdesk", "tickets"), ("brightdesk", "payments"), ("marketlane", "customers")],
)
def test_deleted_records_are_tombstones_and_stay_deleted(home: Path, slug: str, entity: str) -> None:
    current = rows(home, slug, entity)
    deleted = set(column(current, "key")[column(current, "is_deleted")])
    assert deleted
    later = rows(home, slug, entity, WORLD_END)
    assert deleted <= set(column(later, "key")[column(later, "is_deleted")])
    records = render(entity, current.filter(current["is_deleted"]))
    assert all(set(record) == {"id", "updated_at", "deleted"} and record["deleted"] is True for record in records)


def test_some_of_those_who_left_are_deleted_a_month_or_more_later(home: Path) -> None:
    every = versions(home, "brightdesk", "customers")
    key, at, is_deleted = (column(every, name) for name in ("key", "updated_at", "is_deleted"))
    left = (np.array(every["status"].to_pylist()) == "cancelled") & ~is_deleted
    leavers = np.intersect1d(key[left], key[is_deleted])
    assert len(leavers) / len(np.unique(key[left])) == pytest.approx(RATES.deleted_customers, rel=0.7)
    for leaver in leavers:
        own = key == leaver
        assert at[own & is_deleted].max() - at[own & left].min() > 20 * DAY


def test_duplicate_accounts_are_mostly_merged(home: Path) -> None:
    every = versions(home, "brightdesk", "customers")
    names = every.group_by(["email", "name"]).aggregate([("key", "count_distinct")])
    doubled = names.filter((pc.field("key_count_distinct") > 1) & pc.field("email").is_valid())
    expected = 1500 * RATES.duplicate_customers
    assert expected * 0.5 < doubled.num_rows < expected * 2


def test_test_accounts_are_marked(home: Path) -> None:
    customers = rows(home, "brightdesk", "customers")
    tests = [record for record in render("customers", customers) if record.get("is_test")]
    assert len(tests) == round(1500 * RATES.test_customers)
    assert all(str(record["name"]).startswith("Test account") for record in tests)


def test_refunds_are_records_of_their_own(home: Path) -> None:
    payments = rows(home, "marketlane", "payments")
    refunds = payments.filter(pc.equal(payments["type"].cast(pa.string()), "refund"))
    assert refunds.num_rows / payments.num_rows == pytest.approx(RATES.refunds, rel=0.3)
    assert (column(refunds, "amount") > 0).all()


@pytest.mark.parametrize(
    ("entity", "field", "rate"),
    [
        ("customers", "email", RATES.missing_email),
        ("customers", "phone", RATES.missing_phone),
        ("customers", "country", RATES.missing_country),
        ("customers", "signup_channel", RATES.missing_signup_channel),
        ("customers", "time_zone", RATES.missing_time_zone),
        ("tickets", "category", RATES.missing_category),
        ("tickets", "priority", RATES.missing_priority),
        ("payments", "method", RATES.missing_method),
    ],
)
def test_optional_fields_are_missing_as_often_as_stated(home: Path, entity: str, field: str, rate: float) -> None:
    current = rows(home, "marketlane", entity)
    assert current[field].null_count / current.num_rows == pytest.approx(rate, abs=4 * (rate / current.num_rows) ** 0.5)


def test_customers_pay_in_several_currencies_and_records_carry_several_offsets(home: Path) -> None:
    payments = render("payments", rows(home, "brightdesk", "payments"))
    assert {record["currency"] for record in payments if not record["deleted"]} == {"EUR", "GBP", "USD", "CHF"}
    assert {"Z", "+00:00", "+01:00", "-05:00", "+05:30"} <= {str(each["updated_at"])[19:] for each in payments}


def test_names_are_not_all_ascii(home: Path) -> None:
    names = "".join(rows(home, "marketlane", "customers")["name"].to_pylist())
    assert {"Ł", "П", "佐", "م"} <= set(names)


@pytest.mark.parametrize("entity", HOLDERS)
def test_hundreds_of_records_share_one_moment(home: Path, entity: str) -> None:
    _, counts = np.unique(column(rows(home, HOLDERS[entity], entity), "updated_at"), return_counts=True)
    assert counts.max() > 300


def test_some_events_reach_the_crm_late_and_robots_are_deleted(home: Path) -> None:
    events = rows(home, "brightdesk", "events")
    first_seen = versions(home, "brightdesk", "events").group_by("key").aggregate([("updated_at", "min")])
    recorded = dict(zip(first_seen["key"].to_pylist(), first_seen["updated_at_min"].to_pylist(), strict=True))
    delay = np.array([recorded[key] for key in column(events, "key").tolist()]) - column(events, "created_at")
    assert (delay > 0).mean() == pytest.approx(RATES.late_events, rel=0.3)
    assert delay.max() <= 4 * DAY
    assert column(events, "is_deleted").mean() == pytest.approx(RATES.robot_events, rel=0.3)


@pytest.mark.parametrize("entity", HOLDERS)
def test_some_records_of_the_last_seen_moment_appear_only_later(home: Path, entity: str) -> None:
    records = store(home, HOLDERS[entity], entity)
    before = records.page(STARTING_CLOCK, STARTING_CLOCK, None, 100_000)
    after = records.page(STARTING_CLOCK + 3600, STARTING_CLOCK, None, 100_000)
    at_first = set(column(before.rows, "key"))
    same_moment = after.rows.filter(pc.equal(after.rows["updated_at"], STARTING_CLOCK))
    assert at_first
    assert set(column(same_moment, "key")) - at_first


@pytest.mark.parametrize(
    ("slug", "entity", "defects"),
    [
        ("brightdesk", "customers", {Defect.UNREADABLE_DATE}),
        ("brightdesk", "tickets", {Defect.NO_CUSTOMER, Defect.UNREADABLE_DATE}),
        ("marketlane", "payments", {Defect.NO_CUSTOMER, Defect.AMOUNT_NO_NUMBER, Defect.UNREADABLE_DATE}),
        ("brightdesk", "events", {Defect.NO_CUSTOMER, Defect.AMOUNT_NO_NUMBER, Defect.UNREADABLE_DATE}),
    ],
)
def test_a_handful_of_records_break_the_contract(home: Path, slug: str, entity: str, defects: set[Defect]) -> None:
    current = rows(home, slug, entity)
    defect = column(current, "defect")
    assert set(defect[defect > 0]) == defects
    assert 0 < (defect > 0).mean() < 0.005
    mended = column(rows(home, slug, entity, WORLD_END), "defect")
    assert (mended > 0).sum() < (defect > 0).sum() + 3


def test_broken_records_look_as_the_description_says(home: Path) -> None:
    payments = rows(home, "marketlane", "payments")
    records = render("payments", payments)
    for record, defect in zip(records, column(payments, "defect"), strict=True):
        if defect and not record["deleted"]:
            assert {
                Defect.NO_CUSTOMER: record["customer_id"] is None,
                Defect.AMOUNT_NO_NUMBER: record["amount"] == "n/a",
                Defect.UNREADABLE_DATE: record["created_at"] == "31/02/2026 25:00",
            }[Defect(defect)]


def test_some_tickets_are_older_than_their_customers(home: Path) -> None:
    customers, tickets = rows(home, "brightdesk", "customers"), rows(home, "brightdesk", "tickets")
    since = dict(zip(column(customers, "key"), column(customers, "created_at"), strict=True))
    older = [
        at < since[owner] for owner, at in zip(column(tickets, "customer"), column(tickets, "created_at"), strict=True)
    ]
    assert np.mean(older) == pytest.approx(RATES.tickets_before_customer, rel=0.5)


def test_charges_made_twice_are_void(home: Path) -> None:
    payments = rows(home, "brightdesk", "payments")
    void = np.array(payments["status"].to_pylist()) == "void"
    assert void.mean() == pytest.approx(RATES.doubled_charges, rel=0.5)


def test_versions_of_a_record_follow_each_other_without_gap_or_overlap(home: Path) -> None:
    for entity, slug in HOLDERS.items():
        every = versions(home, slug, entity)
        order = np.lexsort((column(every, "updated_at"), column(every, "key")))
        key, start, end = (column(every, name)[order] for name in ("key", "visible_from", "visible_until"))
        same = key[1:] == key[:-1]
        assert (end[:-1][same] == start[1:][same]).all()
        pairs = np.column_stack([key, column(every, "updated_at")[order]])
        assert len(np.unique(pairs, axis=0)) == len(pairs)


def test_rates_stand_in_one_place_and_are_small() -> None:
    assert all(0 < rate < 0.3 or name == "merged_duplicates" for name, rate in vars(RATES).items())
