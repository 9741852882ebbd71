"""What may become known later of a generated history: versions added, changed and deleted, in every way."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.integration.crm_history import (
    BEGIN,
    END,
    EVENTS,
    FIRST_LOAD,
    KEYS,
    REQUIRED_EVENTS,
    History,
    Row,
    between,
)


def change_what_was_known_from(history: History, moment: datetime) -> None:
    """Add, change and delete versions that became known at that moment or later, in every way that is possible.

    Of a record that the first load brought, the past events and the fixed attributes are facts of their own
    time, whenever they were loaded: what may change is its mutable attributes, and its events from the moment on.
    """
    for entity, rows in history.rows.items():
        kept = [row for row in rows if row["is_backfill"] or row["known_at"] < moment or history.random.random() < 0.7]
        for row in kept:
            if row["known_at"] >= moment:
                _change(history.random, entity, row, moment)
        history.rows[entity] = kept + _late_versions(history, entity, kept, moment)


def change_attributes_of_the_first_load(history: History) -> None:
    """Change every mutable attribute of every version that came with the first load, and no event.

    That a payment became void is an event, so a status changes between the others only.
    """
    for entity, rows in history.rows.items():
        for row in rows:
            if not row["is_backfill"]:
                continue
            for column, change in _attribute_changes(history.random, entity).items():
                if row.get(column) is not None and row[column] != "void":
                    row[column] = "pending" if column == "status" else change()
            _change_custom_attributes(history.random, row)


def _attribute_changes(rng: random.Random, entity: str) -> dict[str, Callable[[], Any]]:
    changes: dict[str, Callable[[], Any]] = {
        "plan": lambda: rng.choice(["basic", "pro", "gold"]),
        "seats": lambda: rng.randint(0, 50),
        "monthly_price": lambda: rng.randint(1, 500),
        "contract_end_at": lambda: between(rng, BEGIN, END),
        "category": lambda: rng.choice(["billing", "delivery", None]),
        "priority": lambda: rng.choice(["low", "normal", "high", "urgent", None]),
        "satisfaction": lambda: rng.choice([None, 1, 2, 3, 4, 5]),
        "status": lambda: rng.choice(["pending", "succeeded", "failed", "void"]),
        "failed_attempts": lambda: rng.randint(0, 9),
        "method": lambda: rng.choice(["card", "debit", "cheque"]),
        "revenue": lambda: rng.randint(1, 99),
        "cost_per_send": lambda: rng.randint(0, 9),
    }
    # An event's amount is whatever its source measures; a payment's is fixed when it is issued.
    return changes | ({"amount": lambda: rng.randint(1, 9)} if entity == "events" else {})


def _change_custom_attributes(rng: random.Random, row: Row) -> None:
    """Of what came with the first load only those that the company declared changing."""
    if row.get("attributes"):
        kept = {name: value for name, value in json.loads(row["attributes"]).items() if name == "industry"}
        changed = {"employees": rng.choice([1, 99, None]), "is_partner": rng.choice([True, False, "perhaps"])}
        row["attributes"] = json.dumps((kept if row["is_backfill"] else {"industry": "changed"}) | changed)


def _change(rng: random.Random, entity: str, row: Row, moment: datetime) -> None:
    changes = _attribute_changes(rng, entity)
    fixed: dict[str, Callable[[], Any]] = {
        "country": lambda: rng.choice(["AT", "CH"]),
        "signup_channel": lambda: "changed",
        "is_test": lambda: rng.random() < 0.2,
        "amount": lambda: rng.randint(100, 999),
        "discount_amount": lambda: rng.choice([None, 0, 50]),
        "kind": lambda: rng.choice(["charge", "refund"]),
        "currency": lambda: rng.choice(["EUR", "GBP", "USD"]),
        "is_deleted": lambda: rng.random() < 0.2,
        "is_control": lambda: rng.random() < 0.5,
    }
    for column, change in (changes if row["is_backfill"] else changes | fixed).items():
        if column in row:
            row[column] = change()
    _change_custom_attributes(rng, row)
    for column in EVENTS[entity]:
        if row["is_backfill"] and row.get(column) is not None and row[column] < moment:
            continue
        if row.get(column) is None and row["is_backfill"] and row.get("is_deleted"):
            continue
        if (entity, column) in REQUIRED_EVENTS and row.get(column) is None:
            continue
        earliest = moment if row["is_backfill"] else BEGIN
        absent = (entity, column) not in REQUIRED_EVENTS and rng.random() < 0.4
        row[column] = None if absent else between(rng, earliest, END + timedelta(days=30))


def _late_versions(history: History, entity: str, rows: list[Row], moment: datetime) -> list[Row]:
    """Versions of old records, and whole new records, that speak of the past but became known from the moment on."""
    rng = history.random
    taken = {(row["company_id"], row[KEYS[entity]], row["updated_at"]) for row in rows}
    late = []
    for row in rng.sample(rows, len(rows) // 2):
        copy = dict(row)
        copy["is_backfill"] = False
        copy["updated_at"] = between(rng, BEGIN, END)
        copy["known_at"] = between(rng, max(moment, FIRST_LOAD), END)
        if rng.random() < 0.3:
            copy[KEYS[entity]] = f"{row[KEYS[entity]]}-new"
        _change(rng, entity, copy, moment)
        key = (copy["company_id"], copy[KEYS[entity]], copy["updated_at"])
        if key not in taken:
            taken.add(key)
            late.append(copy)
    return late
