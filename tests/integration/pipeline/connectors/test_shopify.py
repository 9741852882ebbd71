"""What of Shopify becomes what, and how its changes are noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.pipeline.connectors.stand_ins.companies import PRESETS, Account, account
from tests.integration.pipeline.connectors.stand_ins.shopify import at, order, refund
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse

LATER = timedelta(days=1)


@pytest.fixture
def shopify(warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path) -> Iterator[Account]:
    with account(PRESETS["shopify"], warehouse, add_company, tmp_path) as opened:
        yield opened


def test_a_customer_and_its_name(shopify: Account) -> None:
    shopify.sync()
    customers = shopify.newest("customers")
    assert (customers["1"]["name"], customers["2"]["name"]) == ("Ann Lee 1", "Ann")
    assert customers["1"]["updated_at"] == datetime(2025, 6, 1, 12, tzinfo=UTC) - timedelta(days=99)


def test_payments_are_orders_and_what_was_really_paid_back(shopify: Account) -> None:
    shopify.sync()
    payments = shopify.newest("payments")
    assert (payments["1001"]["amount"], payments["1001"]["status"]) == (Decimal("49.90"), "succeeded")
    assert payments["1001"]["discount_amount"] == 5
    assert (payments["1004"]["status"], payments["1004"]["paid_at"]) == ("void", None)
    row = payments["refund-7"]
    assert (row["kind"], row["amount"], row["customer_id"]) == ("refund", Decimal("12.50"), "14")
    assert {"1005", "1006"} & payments.keys() == set(), "a test, and nobody's"


def test_carts_that_were_left_are_events_until_they_are_paid(shopify: Account) -> None:
    shopify.sync()
    shopify.vendor.checkouts[5001] |= {"completed_at": at(-0.4), "updated_at": at(-0.4)}
    shopify.sync(later=LATER)
    events = shopify.newest("events")
    assert len(events) == 12
    assert [number for number, row in events.items() if row["is_deleted"]] == ["5001"]
    assert events["5002"]["name"] == "abandoned_checkout"


def test_only_what_changed_comes_again(shopify: Account) -> None:
    shopify.sync()
    shopify.vendor.orders[1020] |= {"refunds": [refund(8, "1.00")], "updated_at": at(-0.5)}
    shopify.vendor.orders[1050] = order(1050, created_at=at(-0.2), updated_at=at(-0.2))
    shopify.vendor.asked.clear()
    results = {result.entity: result for result in shopify.sync(later=LATER)}
    assert (results["payments"].loaded, results["payments"].error) == (3, None)
    assert {"refund-8", "1050"} <= shopify.newest("payments").keys()
    assert len(shopify.vendor.asked) == 4, "one request for each list"


def test_deleted_customers_are_noticed_within_a_week(shopify: Account) -> None:
    shopify.sync()
    del shopify.vendor.customers[7]
    (customers, *_) = shopify.sync(later=timedelta(days=8))
    assert customers.vanished == 1


def test_an_order_that_is_deleted_or_changed_while_pages_are_read_shifts_nothing(shopify: Account) -> None:
    def change(page: int) -> None:
        if page == 6:
            del shopify.vendor.orders[1047]
            shopify.vendor.orders[1060] = order(1060, updated_at=at(0))

    shopify.vendor.before_page = change
    shopify.sync()
    expected = {str(number) for number in range(1001, 1047)} - {"1005", "1006"}
    assert expected <= shopify.newest("payments").keys()


def test_its_rate_limit_is_waited_out_though_it_says_so_with_a_point(shopify: Account) -> None:
    shopify.vendor.refused_each = 5
    assert [result.error for result in shopify.sync()] == [None, None, None]
