"""Stripe as its documentation describes it: lists newest first, created-only filters, events of 30 days.

What is not described is refused with 400, as Stripe refuses a parameter that it does not know.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.integration.pipeline.connectors.stand_ins.server import Answer, Asked, Strict

KEY = "rk_live_of_the_stand_in"
VERSION = "2026-02-25.clover"
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
DAY = 86_400
LISTS = {"customers": "subscriptions", "charges": "customer", "refunds": "charge", "disputes": "charge", "events": ""}


def at(days_ago: float) -> int:
    """So many days before NOW, in epoch seconds."""
    return int(NOW.timestamp() - days_ago * DAY)


@dataclass
class Stripe(Strict):
    """An account. objects: by list and id; now: in epoch seconds. page_size: at most as many in a page."""

    objects: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {name: {} for name in LISTS})
    now: int = int(NOW.timestamp())
    page_size: int = 100
    is_live: bool = True

    def put(self, name: str, event: str | None = None, happened: float = 0, /, **content: Any) -> None:
        """Store an object, new or changed, and tell of it by an event of so many days ago."""
        known = self.objects[name].get(content["id"], {"livemode": self.is_live})
        self.objects[name][content["id"]] = {**known, **content}
        if event:
            self.tell(event, self.objects[name][content["id"]], happened)

    def tell(self, event: str, content: dict[str, Any], happened: float = 0) -> None:
        """An event with the object as it is now."""
        number = len(self.objects["events"])
        self.objects["events"][f"evt_{number:05}"] = {
            "id": f"evt_{number:05}", "type": event, "created": at(happened), "data": {"object": dict(content)},
        }  # fmt: skip

    def respond(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {KEY}":
            return refusal(401, f"Invalid API Key provided: {asked.headers.get('authorization')}")
        if asked.headers.get("stripe-version") != VERSION or asked.method != "GET":
            return refusal(400, "no such version, or method")
        _, _, name, *identifier = asked.path.split("/")
        if name not in LISTS:
            return refusal(404, f"Unrecognized request URL ({asked.path})")
        return self._one(name, identifier[0], asked) if identifier else self._list(name, asked)

    def _one(self, name: str, identifier: str, asked: Asked) -> Answer:
        found = self.objects[name].get(identifier)
        if found is None:
            return refusal(404, f"No such {name[:-1]}: '{identifier}'")
        if unknown := asked.params.keys() - {"expand[]"}:
            return refusal(400, f"Received unknown parameters: {unknown}")
        if found.get("deleted"):
            return 200, {}, {"id": identifier, "object": name[:-1], "deleted": True}
        return 200, {}, self._expanded(name, found, asked.params.get("expand[]"))

    def _list(self, name: str, asked: Asked) -> Answer:
        allowed = {"limit", "created[gte]", "starting_after", "expand[]"} | ({"type"} if name == "events" else set())
        if unknown := asked.params.keys() - allowed:
            return refusal(400, f"Received unknown parameters: {unknown}")
        if not 1 <= int(asked.params.get("limit", 10)) <= 100:
            return refusal(400, "Invalid limit")
        self.page_begins()
        earliest = int(asked.params.get("created[gte]", 0))
        newest_first = sorted(
            (each for each in self.objects[name].values() if not each.get("deleted") and each["created"] >= earliest),
            key=lambda each: (each["created"], each["id"]),
            reverse=True,
        )
        if name == "events":
            kind = asked.params.get("type", "*")
            newest_first = [
                event
                for event in newest_first
                if fnmatch.fnmatch(event["type"], kind) and event["created"] >= self.now - 30 * DAY
            ]
        after = asked.params.get("starting_after")
        if after is not None:
            if after not in self.objects[name]:
                return refusal(400, f"No such {name[:-1]}: '{after}'")
            place = (self.objects[name][after]["created"], after)
            newest_first = [each for each in newest_first if (each["created"], each["id"]) < place]
        size = min(int(asked.params.get("limit", 10)), self.page_size)
        expand = asked.params.get("expand[]", "").removeprefix("data.") or None
        page = [self._expanded(name, each, expand) for each in newest_first[:size]]
        return 200, {}, {"object": "list", "data": page, "has_more": len(newest_first) > size, "url": asked.path}

    def _expanded(self, name: str, content: dict[str, Any], expand: str | None) -> dict[str, Any]:
        given = dict(content)
        if name == "customers" and expand != "subscriptions":
            given.pop("subscriptions", None)  # Since 2020 only where it is asked for.
        if expand == "charge":
            given["charge"] = self.objects["charges"].get(given["charge"])
        return given


def refusal(status: int, message: str) -> Answer:
    """An error as Stripe words it."""
    return status, {}, {"error": {"type": "invalid_request_error", "message": message}}


def customer(number: int, **changes: Any) -> dict[str, Any]:
    """A customer with a running subscription."""
    price = {"id": "price_gold", "nickname": "Gold", "unit_amount": 4900}
    subscription = {
        "status": "active", "items": {"data": [{"price": price, "quantity": 3}]}, "cancel_at": None,
        "pause_collection": None,
    }  # fmt: skip
    return {
        "id": f"cus_{number:04}", "object": "customer", "created": at(400 - number), "name": f"Customer {number}",
        "email": f"c{number}@example.com", "phone": None, "currency": "eur", "address": {"country": "DE"},
        "delinquent": False, "subscriptions": {"object": "list", "data": [subscription], "has_more": False},
    } | changes  # fmt: skip


def charge(number: int, **changes: Any) -> dict[str, Any]:
    """A charge that succeeded, of 12.50 EUR."""
    return {
        "id": f"ch_{number:04}", "object": "charge", "created": at(300 - number / 10), "amount": 1250,
        "amount_captured": 1250, "captured": True, "currency": "eur", "customer": f"cus_{number % 20:04}",
        "status": "succeeded", "payment_method_details": {"type": "card"}, "disputed": False,
    } | changes  # fmt: skip


def account() -> Stripe:
    """Customers and payments of every kind, in pages of 10."""
    stripe = Stripe(page_size=10)
    for number in range(35):
        stripe.put("customers", **customer(number))
    for number in range(60):
        stripe.put("charges", **charge(number))
    stripe.put("charges", **charge(60, currency="jpy", amount=1250, amount_captured=1250))
    stripe.put("charges", **charge(61, currency="isk", amount=125_000, amount_captured=125_000))
    stripe.put("charges", **charge(62, status="failed", captured=False, amount_captured=0))
    stripe.put("charges", **charge(63, customer=None))
    stripe.put("charges", **charge(64, captured=False, amount_captured=0))
    stripe.put("charges", **charge(65, amount_captured=800))
    stripe.put(
        "refunds", id="re_0001", created=at(100), amount=500, currency="eur", charge="ch_0003", status="succeeded"
    )
    stripe.put("disputes", id="dp_0001", created=at(90), amount=1250, currency="eur", charge="ch_0004", status="lost")
    stripe.put("disputes", id="dp_0002", created=at(9), amount=1250, currency="eur", charge="ch_0005", status="won")
    return stripe
