"""What of Salesforce becomes what, and how its changes are noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.pipeline.connectors.stand_ins.companies import PRESETS, Account, account
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse

LATER = timedelta(days=1)


@pytest.fixture
def salesforce(warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path) -> Iterator[Account]:
    with account(PRESETS["salesforce"], warehouse, add_company, tmp_path) as opened:
        yield opened


def test_accounts_cases_and_opportunities_that_were_won(salesforce: Account) -> None:
    salesforce.sync()
    assert len(salesforce.newest("customers")) == 35
    tickets = salesforce.newest("tickets")
    assert tickets["500000000000003AAA"]["customer_id"] == "001000000000004AAA"
    assert tickets["500000000000001AAA"]["is_deleted"], "a case of nobody says nothing about a customer"
    payments = salesforce.newest("payments")
    assert payments["006000000000001AAA"]["amount"] == Decimal("1200.50")
    assert payments["006000000000007AAA"]["is_deleted"], "not won"


def test_only_what_changed_comes_again_and_deleted_rows_are_deletions(salesforce: Account) -> None:
    salesforce.sync()
    salesforce.vendor.put("Account", "001000000000002AAA", -0.5, IsDeleted=True)
    salesforce.vendor.put("Opportunity", "006000000000001AAA", -0.5, IsWon=False)
    salesforce.vendor.put("Opportunity", "006000000000007AAA", -0.5, IsWon=True)
    results = {result.entity: result for result in salesforce.sync(later=LATER)}
    assert [(name, result.loaded, result.error) for name, result in results.items()] == [
        ("customers", 1, None),
        ("tickets", 0, None),
        ("payments", 2, None),
    ]
    assert salesforce.newest("customers")["001000000000002AAA"]["is_deleted"]
    payments = salesforce.newest("payments")
    assert payments["006000000000001AAA"]["is_deleted"]
    assert not payments["006000000000007AAA"]["is_deleted"]


def test_a_token_that_expires_amid_pages_is_fetched_again(salesforce: Account) -> None:
    salesforce.vendor.expires_after = 3
    assert [result.error for result in salesforce.sync()] == [None] * 3
    assert salesforce.vendor.tokens > 3


def test_what_is_purged_is_noticed_within_a_week(salesforce: Account) -> None:
    salesforce.sync()
    del salesforce.vendor.objects["Account"]["001000000000009AAA"]
    (customers, *_) = salesforce.sync(later=timedelta(days=8))
    assert customers.vanished == 1


def test_custom_fields_are_asked_for(salesforce: Account) -> None:
    salesforce.vendor.put(
        "Account", "001000000000001AAA", 3, Churned_On__c="2025-05-01T00:00:00.000+0000", Plan__c="Gold"
    )
    fields = {"cancelled_at": "Churned_On__c", "plan": "Plan__c"}
    company = salesforce.company()
    company.connector_settings["entities"] = {"customers": {"ask": ["Churned_On__c", "Plan__c"], "fields": fields}}
    assert salesforce.sync()[0].error is None
    row = salesforce.newest("customers")["001000000000001AAA"]
    assert (row["plan"], row["cancelled_at"]) == ("Gold", datetime(2025, 5, 1, tzinfo=UTC))


def test_what_a_query_would_not_take_is_an_error_with_its_words(salesforce: Account) -> None:
    salesforce.company().connector_settings["entities"] = {"customers": {"ask": ["Nothing__c"]}}
    customers = salesforce.sync()[0]
    assert "No such column 'Nothing__c' on entity 'Account'" in str(customers.error)
