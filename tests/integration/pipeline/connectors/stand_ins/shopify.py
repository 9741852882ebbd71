"""Shopify's REST Admin API as its documentation has it: links that take no other parameter, a leaky bucket."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from tests.integration.pipeline.connectors.stand_ins.server import Answer, Asked, Strict

TOKEN = "shpat_of_the_stand_in"
VERSION = "2026-07"
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
SHOP_ZONE = timezone(timedelta(hours=-4))


def at(days_ago: float) -> str:
    """So many days before NOW, as Shopify writes it: in the shop's own zone."""
    return (NOW - timedelta(days=days_ago)).astimezone(SHOP_ZONE).isoformat(timespec="seconds")


@dataclass
class Shopify(Strict):
    """A shop. Lists come newest id first; a page's link holds where it was, so that nothing shifts."""

    customers: dict[int, dict[str, Any]] = field(default_factory=dict)
    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    checkouts: dict[int, dict[str, Any]] = field(default_factory=dict)
    page_size: int = 250
    refused_each: int = 0

    def respond(self, asked: Asked) -> Answer:
        if asked.headers.get("x-shopify-access-token") != TOKEN:
            return 401, {}, {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}
        if self.refused_each and len(self.asked) % self.refused_each == 0:
            return 429, {"Retry-After": "1.0"}, {"errors": "Exceeded 2 calls per second for api client."}
        for name in ("customers", "orders", "checkouts"):
            if asked.path == f"/admin/api/{VERSION}/{name}.json":
                return self._list(name, asked)
        return 404, {}, {"errors": "Not Found"}

    def _list(self, name: str, asked: Asked) -> Answer:
        if "page_info" in asked.params:
            if asked.params.keys() - {"page_info", "limit", "fields"}:
                return 400, {}, {"errors": {"page_info": "no other parameter may be passed when page_info is present"}}
            asked_for = json.loads(base64.urlsafe_b64decode(asked.params["page_info"]))
        else:
            if asked.params.keys() - {"limit", "updated_at_min", "status"}:
                return 400, {}, {"errors": "unknown parameter"}
            asked_for = {"since": asked.params.get("updated_at_min"), "status": asked.params.get("status", "open")}
        if not 1 <= int(asked.params.get("limit", 50)) <= 250:
            return 400, {}, {"errors": "limit must be between 1 and 250"}
        self.page_begins()
        records = [record for number, record in sorted(getattr(self, name).items(), reverse=True)]
        if asked_for["since"]:
            since = datetime.fromisoformat(asked_for["since"])
            records = [record for record in records if datetime.fromisoformat(record["updated_at"]) >= since]
        if name == "orders" and asked_for["status"] != "any":
            records = [record for record in records if record.get("cancelled_at") is None]
        records = [record for record in records if record["id"] < asked_for.get("before", 1 << 62)]
        size = min(int(asked.params.get("limit", 50)), self.page_size)
        page, headers = records[:size], {"X-Shopify-Shop-Api-Call-Limit": "1/40"}
        if len(records) > size:
            place = json.dumps(asked_for | {"before": page[-1]["id"]}).encode()
            link = f"{self.url}{asked.path}?limit={size}&page_info={base64.urlsafe_b64encode(place).decode()}"
            headers["Link"] = f'<{link}>; rel="next"'
        return 200, headers, {name: page}


def order(number: int, **changes: Any) -> dict[str, Any]:
    """An order that was paid."""
    return {
        "id": number, "created_at": at(60), "processed_at": at(60), "updated_at": at(59), "total_price": "49.90",
        "total_discounts": "5.00", "currency": "EUR", "financial_status": "paid", "test": False, "cancelled_at": None,
        "customer": {"id": 1 + number % 30}, "payment_gateway_names": ["shopify_payments"], "refunds": [],
    } | changes  # fmt: skip


def refund(number: int, *amounts: str) -> dict[str, Any]:
    """A refund by several transactions."""
    return {
        "id": number, "created_at": at(20), "processed_at": at(20),
        "transactions": [
            {"kind": "refund", "status": "success", "amount": amount, "gateway": "shopify_payments"}
            for amount in amounts
        ]
        + [{"kind": "refund", "status": "failure", "amount": "1000.00", "gateway": "shopify_payments"}],
    }  # fmt: skip


def account() -> Shopify:
    """Customers, orders with refunds, and carts that were left, in pages of 10."""
    shop = Shopify(page_size=10)
    for number in range(1, 36):
        shop.customers[number] = {
            "id": number, "first_name": "Ann", "last_name": None if number == 2 else f"Lee {number}",
            "email": f"a{number}@example.com", "phone": None, "state": "enabled", "currency": "EUR", "tags": "vip",
            "verified_email": True, "default_address": {"country_code": "DE"}, "created_at": at(300),
            "updated_at": at(100 - number),
        }  # fmt: skip
    for number in range(1001, 1048):
        shop.orders[number] = order(number, updated_at=at(50 - (number - 1000) / 2))
    shop.orders[1003] |= {"refunds": [refund(7, "10.00", "2.50")], "financial_status": "partially_refunded"}
    shop.orders[1004] |= {"financial_status": "voided", "cancelled_at": at(58)}
    shop.orders[1005] |= {"test": True}
    shop.orders[1006] |= {"customer": None}
    for number in range(5001, 5013):
        shop.checkouts[number] = {
            "id": number, "created_at": at(10), "updated_at": at(10 - number % 100 / 10), "completed_at": None,
            "total_price": "20.00",
            "customer": {"id": 1 + number % 30},
        }  # fmt: skip
    return shop
