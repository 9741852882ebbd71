"""What of HubSpot becomes what, and how its changes are noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.loading.sync import LoadResult
from tests.integration.pipeline.connectors.stand_ins.companies import PRESETS, Account, account
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse

LATER = timedelta(days=1)


@pytest.fixture
def hubspot(warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path) -> Iterator[Account]:
    with account(PRESETS["hubspot"], warehouse, add_company, tmp_path) as opened:
        yield opened


def test_progress_knows_what_is_left(hubspot: Account) -> None:
    seen: list[LoadResult] = []
    hubspot.sync(progress=seen.append)
    assert [load.expected for load in seen if load.entity == "customers" and load.status == "running"][-1] == 34


def test_more_records_than_a_search_gives_all_come(hubspot: Account) -> None:
    """A search of HubSpot gives no more than 10,000 results, of this stand-in 200."""
    for number in range(3000, 3300):
        hubspot.vendor.put("companies", number, 5, name="New")
    customers = hubspot.sync()[0]
    assert customers.error is None
    assert len(hubspot.newest("customers")) == 35 + 300
    assert all("after" not in asked.body for asked in hubspot.vendor.asked if asked.path.endswith("/search"))


def test_tickets_belong_to_their_primary_company(hubspot: Account) -> None:
    hubspot.sync()
    tickets = hubspot.newest("tickets")
    owners = {ticket["customer_id"] for ticket in tickets.values() if not ticket["is_deleted"]}
    assert owners == {str(number) for number in range(1, 31)}
    assert tickets["1046"]["is_deleted"], "a ticket of nobody says nothing about a customer"
    batches = [asked for asked in hubspot.vendor.asked if asked.path.endswith("/tickets/companies/batch/read")]
    assert [len(asked.body["inputs"]) for asked in batches] == [10, 10, 10, 10, 6]


def test_payments_are_deals_that_were_won(hubspot: Account) -> None:
    hubspot.sync()
    payments = hubspot.newest("payments")
    assert payments["2016"]["is_deleted"]
    assert (payments["2001"]["amount"], payments["2001"]["currency"]) == (Decimal("1200.50"), "EUR")


def test_a_deal_that_is_won_no_longer_is_no_payment(hubspot: Account) -> None:
    hubspot.sync()
    hubspot.vendor.put("deals", 2001, -0.5, hs_is_closed_won="false")
    hubspot.sync(later=LATER)
    assert hubspot.newest("payments")["2001"]["is_deleted"]


def test_only_what_changed_comes_again_and_archived_records_are_deletions(hubspot: Account) -> None:
    hubspot.sync()
    vendor = hubspot.vendor
    vendor.put("companies", 4, -0.5, lifecyclestage="other")
    vendor.archive("companies", 5, -0.5)
    vendor.archive("tickets", 1001, -0.5)
    results = {result.entity: result for result in hubspot.sync(later=LATER)}
    assert [result.error for result in results.values()] == [None] * 3
    assert results["customers"].loaded == 2
    customers = hubspot.newest("customers")
    assert customers["4"]["status"] == "other"
    assert customers["5"]["is_deleted"] and customers["35"]["is_deleted"]  # noqa: PT018
    assert hubspot.newest("tickets")["1001"]["is_deleted"]


def test_a_restored_record_lives_again(hubspot: Account) -> None:
    hubspot.sync()
    hubspot.vendor.objects["companies"]["35"]["archived"] = False
    hubspot.vendor.put("companies", 35, -0.5)
    hubspot.sync(later=LATER)
    assert not hubspot.newest("customers")["35"]["is_deleted"]


def test_what_is_merged_or_erased_for_good_is_noticed_within_a_week(hubspot: Account) -> None:
    hubspot.sync()
    del hubspot.vendor.objects["companies"]["7"]
    (customers, *_) = hubspot.sync(later=timedelta(days=8))
    assert customers.vanished == 1
    assert hubspot.newest("customers")["7"]["is_vanished"]


def test_what_changes_while_pages_are_read_is_not_lost(hubspot: Account) -> None:
    def change(page: int) -> None:
        if page == 3:
            hubspot.vendor.archive("companies", 1, 0)
            hubspot.vendor.put("companies", 2, -0.001, name="Renamed")

    hubspot.vendor.before_page = change
    hubspot.sync()
    hubspot.vendor.before_page = lambda _: None
    hubspot.sync(later=LATER)
    customers = hubspot.newest("customers")
    assert set(customers) == {str(number) for number in range(1, 36)}
    assert customers["1"]["is_deleted"]
    assert customers["2"]["name"] == "Renamed"


def test_a_company_may_ask_for_properties_of_its_own(
    warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path
) -> None:
    with account(PRESETS["hubspot"], warehouse, add_company, tmp_path) as opened:
        opened.vendor.put("companies", 1, 5, churned_on="2025-05-01T00:00:00Z", region="north")
        company = opened.company()
        customers = {
            "ask": ["churned_on", "region"],
            "fields": {"cancelled_at": "properties.churned_on"},
            "attributes": {"region": "properties.region"},
        }
        company.connector_settings["entities"] = {"customers": customers}
        opened.sync()
        row = opened.newest("customers")["1"]
        assert row["cancelled_at"] == datetime(2025, 5, 1, tzinfo=UTC)
        assert row["attributes"] == {"region": "north"}
