"""Generated histories of CRM records: versions that came with a first load, and versions that came later."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

BEGIN = datetime(2024, 4, 1, tzinfo=UTC)
FIRST_LOAD = datetime(2025, 3, 10, 9, tzinfo=UTC)
END = datetime(2025, 7, 20, 9, tzinfo=UTC)
DAY = timedelta(days=1)

KEYS = {
    "customers": "customer_id",
    "tickets": "ticket_id",
    "payments": "payment_id",
    "events": "event_id",
    "campaigns": "campaign_id",
    "sends": "send_id",
}
EVENTS = {
    "customers": ("created_at", "cancelled_at"),
    "tickets": ("opened_at", "first_response_at", "resolved_at", "reopened_at"),
    "payments": ("issued_at", "due_at", "paid_at", "failed_at"),
    "events": ("occurred_at",),
    "campaigns": ("starts_at", "ends_at"),
    "sends": ("sent_at", "opened_at", "clicked_at", "responded_at", "unsubscribed_at"),
}
REQUIRED_EVENTS = {
    ("customers", "created_at"),
    ("tickets", "opened_at"),
    ("payments", "issued_at"),
    ("events", "occurred_at"),
    ("campaigns", "starts_at"),
    ("sends", "sent_at"),
}
Row = dict[str, Any]


@dataclass
class History:
    """All versions of all records of some companies, as rows of the raw tables."""

    random: random.Random
    rows: dict[str, list[Row]] = field(default_factory=lambda: {entity: [] for entity in KEYS})

    def write(self, connection: psycopg.Connection[Any], known_before: datetime | None = None) -> None:
        """Put the raw tables' content in place of what they hold; only what was known before a moment, if given.

        Each row came with the load that the log names for its time, if it names any.
        """
        for entity in self.rows:
            connection.execute(f"truncate raw.{entity}")
        self.add(connection, known_before)
        connection.commit()

    def add(self, connection: psycopg.Connection[Any], known_before: datetime | None = None) -> None:
        """Add the rows to the raw tables, in the transaction that is open."""
        loads = _Loads(connection)
        for entity, rows in self.rows.items():
            wanted = [row for row in rows if known_before is None or row["known_at"] < known_before]
            columns = sorted({column for row in wanted for column in row} | {"load_id"})
            with (
                connection.cursor() as cursor,
                cursor.copy(f"copy raw.{entity} ({', '.join(columns)}) from stdin") as copy,
            ):
                for row in wanted:
                    loaded = row | {"load_id": loads.of(entity, row)}
                    copy.write_row([loaded.get(column) for column in columns])

    def split_off(self, moment: datetime) -> History:
        """Take out what became known from a moment on, and return it."""
        later = History(self.random)
        for entity, rows in self.rows.items():
            later.rows[entity] = [row for row in rows if row["known_at"] >= moment]
            self.rows[entity] = [row for row in rows if row["known_at"] < moment]
        return later


class _Loads:
    """Which load brought a row, by the load log."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._loads: dict[tuple[int, str, bool], list[tuple[datetime, int]]] = {}
        query = "select company_id, entity, is_backfill, known_at, load_id from ops.load_log order by load_id"
        for company_id, entity, is_backfill, known_at, load_id in connection.execute(query):
            self._loads.setdefault((company_id, entity, is_backfill), []).append((known_at, load_id))

    def of(self, entity: str, row: Row) -> int:
        loads = self._loads.get((row["company_id"], entity, row["is_backfill"]), [])
        after = (load_id for known_at, load_id in loads if row["is_backfill"] or known_at >= row["known_at"])
        return next(after, loads[-1][1] if loads else row["load_id"])


def generate(company_ids: Iterable[int], customers: int, seed: int) -> History:
    """Histories with late edits, corrections, tombstones, late arrivals, voids, refunds and test accounts."""
    history = History(random.Random(seed))
    for company_id in company_ids:
        for number in range(customers):
            _customer(history, company_id, f"c{number}")
    _campaigns_and_sends(history, random.Random(seed + 1))
    return history


def _campaigns_and_sends(history: History, rng: random.Random) -> None:
    """Campaigns of every company and what they sent, by draws of their own: the other records stand as they are."""
    other, history.random = history.random, rng
    customers = [(row["company_id"], row["customer_id"]) for row in history.rows["customers"]]
    for company_id in sorted({company_id for company_id, _ in customers}):
        for number in range(4):
            starts_at = between(rng, BEGIN, END)
            fixed = {"name": f"Campaign {number}", "channel": "email", "kind": "offer", "starts_at": starts_at}
            versions = [
                fixed | {"cost_per_send": rng.randint(0, 3), "updated_at": moment} for moment in _edits(rng, starts_at)
            ]
            _add(history, "campaigns", company_id, f"m{number}", versions)
    for company_id, customer_id in sorted(set(customers)):
        for number in range(rng.randint(0, 8)):
            _send(history, company_id, customer_id, f"{customer_id}-s{number}")
    history.random = other


def _send(history: History, company_id: int, customer_id: str, send_id: str) -> None:
    rng = history.random
    sent_at = between(rng, BEGIN - timedelta(days=rng.choice([0, 0, 300])), END)
    opened_at = _later(rng, sent_at, 10, 0.6)
    clicked_at = _later(rng, opened_at, 5, 0.6)
    responded_at = _later(rng, clicked_at, 20, 0.6)
    unsubscribed_at = _later(rng, opened_at, 10, 0.1)
    fixed = {
        "customer_id": customer_id,
        "campaign_id": f"m{rng.randint(0, 3)}",
        "is_control": rng.random() < 0.2,
        "sent_at": sent_at,
    }
    versions = [
        fixed
        | {
            "opened_at": _if_past(opened_at, moment),
            "clicked_at": _if_past(clicked_at, moment),
            "responded_at": _if_past(responded_at, moment),
            "unsubscribed_at": _if_past(unsubscribed_at, moment),
            "revenue": rng.randint(1, 99) if _if_past(responded_at, moment) else None,
            "updated_at": moment,
        }
        for moment in _edits(rng, sent_at, opened_at, clicked_at, responded_at, unsubscribed_at)
    ]
    _add(history, "sends", company_id, send_id, versions)


def _customer(history: History, company_id: int, customer_id: str) -> None:
    rng = history.random
    created_at = between(rng, BEGIN, END)
    left_at = between(rng, created_at, END) if rng.random() < 0.3 else None
    back_at = _later(rng, left_at, 60, 0.4)
    facts: Row = {
        "country": rng.choice(["DE", "FR", None]),
        "signup_channel": rng.choice(["ads", "friend"]),
        "currency": rng.choice(["EUR", "GBP", "XYZ"]),
        "is_test": rng.random() < 0.03,
        "created_at": created_at,
    }
    moments = _edits(rng, created_at, left_at, back_at)
    versions: list[Row] = [
        facts
        | {
            "plan": rng.choice(["basic", "pro"]),
            "seats": rng.randint(0, 5),
            "monthly_price": rng.randint(10, 99),
            "contract_end_at": between(rng, created_at, END + timedelta(days=300)),
            "cancelled_at": left_at if left_at and left_at <= moment < (back_at or moment + DAY) else None,
            "attributes": _attributes(rng),
            "updated_at": moment,
        }
        for moment in moments
    ]
    _add(history, "customers", company_id, customer_id, versions)
    until = END if back_at else left_at or END
    for number in range(rng.randint(0, 6)):
        _ticket(history, company_id, customer_id, f"{customer_id}-t{number}", created_at, until)
    for number in range(rng.randint(0, 8)):
        _payment(history, company_id, customer_id, f"{customer_id}-p{number}", created_at, until, facts["currency"])
    for number in range(rng.randint(0, 25)):
        _event(history, company_id, customer_id, f"{customer_id}-e{number}", created_at, until)


def _attributes(rng: random.Random) -> str:
    """What a company's custom attributes are read from; now and then of another type than declared."""
    values = {
        "industry": rng.choice(["retail", "bank", 7]),
        "employees": rng.choice([3, 250, "many"]),
        "is_partner": rng.choice([True, False]),
    }
    return json.dumps({name: value for name, value in values.items() if rng.random() < 0.8})


def _ticket(
    history: History, company_id: int, customer_id: str, ticket_id: str, begin: datetime, end: datetime
) -> None:
    rng = history.random
    # Some are older than their customer, and older than the lookback.
    opened_at = between(rng, begin - timedelta(days=rng.choice([0, 0, 200, 500])), end)
    answered_at = _later(rng, opened_at, 5, 0.9)
    resolved_at = _later(rng, opened_at, 60, 0.8)
    reopened_at = _later(rng, resolved_at, 30, 0.2)
    versions = []
    for moment in _edits(rng, opened_at, answered_at, resolved_at, reopened_at):
        versions.append(
            {
                "customer_id": customer_id,
                "channel": "email",
                "category": rng.choice(["billing", "login", None]),
                "priority": rng.choice(["low", "high", "urgent"]),
                "satisfaction": rng.choice([None, 1, 3, 5]),
                "opened_at": opened_at,
                "first_response_at": _if_past(answered_at, moment),
                "resolved_at": _if_past(resolved_at, moment),
                "reopened_at": _if_past(reopened_at, moment),
                "updated_at": moment,
            }
        )
    _add(history, "tickets", company_id, ticket_id, versions)


def _payment(
    history: History,
    company_id: int,
    customer_id: str,
    payment_id: str,
    begin: datetime,
    end: datetime,
    currency: str,
) -> None:
    rng = history.random
    issued_at = between(rng, begin, end)
    failed_at = _later(rng, issued_at, 20, 0.2)
    paid_at = _later(rng, issued_at, 60, 0.85)
    fixed = {
        "customer_id": customer_id,
        "kind": "refund" if rng.random() < 0.1 else "charge",
        "amount": rng.randint(1, 99),
        "discount_amount": rng.choice([None, 0, 0, 5]),
        "currency": currency,
        "issued_at": issued_at,
        "due_at": issued_at + timedelta(days=14) if rng.random() < 0.8 else None,
    }
    versions = []
    for moment in _edits(rng, issued_at, failed_at, paid_at):
        is_paid = paid_at is not None and paid_at <= moment
        versions.append(
            fixed
            | {
                "status": "succeeded" if is_paid else rng.choice(["pending", "pending", "failed", "void"]),
                "method": rng.choice(["card", "debit"]),
                "failed_attempts": rng.randint(0, 3),
                "paid_at": paid_at if is_paid else None,
                "failed_at": _if_past(failed_at, moment),
                "updated_at": moment,
            }
        )
    _add(history, "payments", company_id, payment_id, versions)


def _event(history: History, company_id: int, customer_id: str, event_id: str, begin: datetime, end: datetime) -> None:
    rng = history.random
    occurred_at = between(rng, begin, end)
    fixed = {"customer_id": customer_id, "name": rng.choice(["login", "export"]), "occurred_at": occurred_at}
    versions = [fixed | {"amount": rng.randint(1, 9), "updated_at": moment} for moment in _edits(rng, occurred_at)]
    _add(history, "events", company_id, event_id, versions)


def _add(history: History, entity: str, company_id: int, record_id: str, versions: list[Row]) -> None:
    """Of what was there at the first load only the newest version came with it; the rest came as it happened."""
    rng = history.random
    versions = sorted({version["updated_at"]: version for version in versions}.values(), key=_updated_at)
    if rng.random() < 0.05:
        versions.append({"updated_at": versions[-1]["updated_at"] + timedelta(days=3), "is_deleted": True})
    first = [version for version in versions if version["updated_at"] < FIRST_LOAD][-1:]
    later = [version for version in versions if version["updated_at"] >= FIRST_LOAD]
    for version in first:
        _put(history, entity, company_id, record_id, version, version["updated_at"], is_backfill=True)
    for version in later:
        # Now and then a version arrives weeks late, after newer ones.
        delay = timedelta(days=rng.choice([0, 0, 0, 1, 25]), hours=1)
        _put(history, entity, company_id, record_id, version, version["updated_at"] + delay, is_backfill=False)


def _put(
    history: History,
    entity: str,
    company_id: int,
    record_id: str,
    version: Row,
    known_at: datetime,
    *,
    is_backfill: bool,
) -> None:
    history.rows[entity].append(
        {
            "company_id": company_id,
            KEYS[entity]: record_id,
            "known_at": known_at,
            "is_backfill": is_backfill,
            "is_deleted": False,
            "load_id": 1,
        }
        | version
    )


def _edits(rng: random.Random, first: datetime, *events: datetime | None) -> list[datetime]:
    moments = [first, *(event for event in events if event is not None)]
    return [*moments, *(between(rng, first, END) for _ in range(rng.randint(0, 3)))]


def between(rng: random.Random, begin: datetime, end: datetime) -> datetime:
    """Now and then the very midnight that an as_of_date stands for."""
    moment = begin + (end - begin) * rng.random()
    midnight = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return midnight if midnight >= begin and rng.random() < 0.1 else moment


def _later(rng: random.Random, moment: datetime | None, days: int, chance: float) -> datetime | None:
    if moment is None or rng.random() >= chance:
        return None
    return moment + timedelta(days=days * rng.random())


def _if_past(event: datetime | None, moment: datetime) -> datetime | None:
    return event if event is not None and event <= moment else None


def _updated_at(version: Row) -> datetime:
    moment: datetime = version["updated_at"]
    return moment
