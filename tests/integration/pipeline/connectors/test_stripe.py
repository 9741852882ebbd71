"""What of Stripe becomes what, and how its changes are noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.pipeline.connectors.stand_ins.companies import PRESETS, Account, account
from tests.integration.pipeline.connectors.stand_ins.stripe import charge, customer
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse

LATER = timedelta(days=1)


@pytest.fixture
def stripe(warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path) -> Iterator[Account]:
    with account(PRESETS["stripe"], warehouse, add_company, tmp_path) as opened:
        yield opened


def test_a_customer_and_what_it_subscribes_to(stripe: Account) -> None:
    stripe.sync()
    row = stripe.newest("customers")["cus_0007"]
    assert (row["plan"], row["seats"], row["status"], row["currency"]) == ("Gold", 3, "active", "EUR")
    assert (row["country"], row["attributes"]) == ("DE", {"delinquent": False})


def test_payments_are_charges_refunds_and_lost_disputes(stripe: Account) -> None:
    stripe.sync()
    payments = stripe.newest("payments")
    assert payments["ch_0003"]["amount"] == Decimal("12.50")
    assert payments["ch_0060"]["amount"] == 1250, "yen have no cents"
    assert payments["ch_0061"]["amount"] == 1250, "Stripe writes ISK with two digits"
    assert payments["ch_0062"]["status"] == "failed"
    assert payments["ch_0065"]["amount"] == 8, "what was captured"
    assert {"ch_0063", "ch_0064"} & payments.keys() == set(), "nobody's, not captured"
    assert payments["dp_0002"]["is_deleted"], "won"
    for refund, amount, owner in (("re_0001", 5, "cus_0003"), ("dp_0001", Decimal("12.50"), "cus_0004")):
        row = payments[refund]
        assert (row["kind"], row["amount"], row["customer_id"]) == ("refund", amount, owner)


def test_what_stripe_remembers_only_as_it_is_now_is_known_from_the_load_on(stripe: Account) -> None:
    """Its objects have no time of change: a refund of May must not be known in January."""
    stripe.sync()
    assert stripe.newest("payments")["ch_0003"]["known_at"] == datetime(2025, 6, 1, 12, tzinfo=UTC)


def test_changes_of_old_objects_come_by_events(stripe: Account) -> None:
    stripe.sync()
    vendor = stripe.vendor
    vendor.now += 86_400
    vendor.put("charges", "charge.updated", -0.5, id="ch_0001", disputed=True)
    vendor.put("customers", "customer.updated", -0.5, id="cus_0001", name="Renamed")
    vendor.put("customers", "customer.deleted", -0.5, id="cus_0002", deleted=True)
    vendor.tell("customer.subscription.updated", {"id": "sub_1", "customer": "cus_0003"}, -0.5)
    vendor.objects["customers"]["cus_0003"]["subscriptions"]["data"][0]["status"] = "past_due"
    vendor.put("disputes", "charge.dispute.closed", -0.5, id="dp_0002", status="lost")
    vendor.put("charges", "charge.succeeded", -0.9, **charge(70, created=int(vendor.now) - 60))
    vendor.asked.clear()
    results = {result.entity: result for result in stripe.sync(later=LATER)}
    assert [results[name].error for name in ("customers", "payments")] == [None, None]
    customers, payments = stripe.newest("customers"), stripe.newest("payments")
    assert customers["cus_0001"]["name"] == "Renamed"
    assert customers["cus_0002"]["is_deleted"]
    assert customers["cus_0003"]["status"] == "past_due"
    assert payments["ch_0001"]["attributes"] == {"disputed": True}
    assert not payments["dp_0002"]["is_deleted"]
    assert "ch_0070" in payments
    assert len(vendor.asked_for("/v1/charges")) == 1, "not all charges are listed again"
    assert not vendor.asked_for("/v1/charges/ch_0070"), "what was listed is not fetched once more"


def test_events_older_than_thirty_days_are_gone_and_all_is_read_again(stripe: Account) -> None:
    stripe.sync()
    stripe.vendor.now += 40 * 86_400
    stripe.vendor.put("charges", "charge.updated", -1, id="ch_0001", disputed=True)
    stripe.sync(later=timedelta(days=40))
    assert stripe.newest("payments")["ch_0001"]["attributes"] == {"disputed": True}


def test_once_a_week_all_is_read_for_what_no_event_told(stripe: Account) -> None:
    stripe.sync()
    stripe.vendor.now += 8 * 86_400
    stripe.vendor.put("charges", None, id="ch_0001", disputed=True)
    del stripe.vendor.objects["customers"]["cus_0005"]
    customers, payments = stripe.sync(later=timedelta(days=8))
    assert (customers.vanished, payments.late) == (1, 1)
    assert stripe.newest("payments")["ch_0001"]["attributes"] == {"disputed": True}


def test_a_new_charge_while_pages_are_read_shifts_nothing(stripe: Account) -> None:
    def charge_again(page: int) -> None:
        stripe.vendor.put("charges", None, **charge(1000 + page, created=stripe.vendor.now - 1))

    stripe.vendor.before_page = charge_again
    stripe.sync()
    assert {f"ch_{number:04}" for number in range(63)} <= stripe.newest("payments").keys()


def test_a_key_of_test_mode_is_refused(stripe: Account) -> None:
    stripe.vendor.is_live = False
    stripe.vendor.put("customers", None, **customer(99), livemode=False)
    (customers, _) = stripe.sync()
    assert customers.status == "failed"
    assert "records of test mode" in str(customers.error)
