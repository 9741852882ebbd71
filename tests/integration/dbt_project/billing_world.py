"""Companies whose churn is silence, and customers who pay in every rhythm: by the year, the quarter, the month's end.

Some stop, come back, pause, cancel, change plans, are deleted, get bills they never pay; a part of what they agreed to
is written down. Each version was loaded the moment it was made, or came with the first load.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg

from pipeline.companies import parse_definition
from tests.integration.crm_history import END, FIRST_LOAD, KEYS, History, Row
from tests.integration.dbt_project.dbt_world import record_load
from warehouse.companies.definition import Company
from warehouse.companies.registry import add_company

BEGIN = datetime(2022, 9, 1, tzinfo=END.tzinfo)
ENTITIES = ("customers", "payments")
DAY = timedelta(days=1)
NEVER = datetime(2099, 12, 31, tzinfo=END.tzinfo)
"""What some CRMs write for a bill without a due date."""

COMPANIES: tuple[dict[str, Any], ...] = (
    {
        "slug": "plans",
        "time_zone": "America/New_York",
        "churn": {"inactivity_days": 40, "horizon_days": 90, "expected_every": {"yearly": "1 year", "quarterly": 91}},
    },
    {"slug": "contracts", "time_zone": "Asia/Tokyo", "churn": {"inactivity_days": 60, "horizon_days": 60}},
    {"slug": "patient", "time_zone": "UTC", "churn": {"inactivity_days": 400, "horizon_days": 30}},
    {
        "slug": "strict",
        "time_zone": "Europe/Berlin",
        "churn": {"inactivity_days": 45, "horizon_days": 31, "counts_pauses": True},
    },
)
PLANS = {"yearly": 12, "half-yearly": 6, "quarterly": 3, "monthly": 1, "irregular": None, "month's end": 0}


def register(connection: psycopg.Connection[Any], now: datetime = END) -> list[Company]:
    """The companies, as if their first load had been made before their last, which was made now."""
    companies = []
    for company in COMPANIES:
        definition = parse_definition(
            {
                "slug": company["slug"],
                "name": company["slug"],
                "connector": "files",
                "currency": "EUR",
                "clock_at": now,
                "entities": ENTITIES,
                "time_zone": company["time_zone"],
                "tasks": {"churn": {"kind": "inactivity", **company["churn"]}},
            }
        )
        companies.append(add_company(connection, definition, "tests"))
        record_load(connection, companies[-1].company_id, FIRST_LOAD, is_backfill=True)
        record_load(connection, companies[-1].company_id, now, is_backfill=False)
    return companies


def generate(companies: list[Company], customers: int, seed: int) -> History:
    """All versions of all customers and payments of the companies."""
    history = History(random.Random(seed))
    for company in companies:
        for number in range(customers):
            _Customer(history, company, f"c{number}").live()
    return history


@dataclass
class _Customer:
    history: History
    company: Company
    customer_id: str
    versions: list[Row] = field(default_factory=list)

    def live(self) -> None:
        rng = self.history.random
        created_at = BEGIN + (END - BEGIN) * rng.random() ** 1.5
        plan = rng.choice(list(PLANS))
        self._is(created_at, created_at, plan)
        at, until = created_at, created_at + timedelta(days=rng.choice([200, 500, 2000]))
        has_due_dates, number = rng.random() < 0.4, 0
        while at < min(until, END):
            number += 1
            self._pay(number, at, has_due_dates)
            at = self._next(at, PLANS[plan])
            if rng.random() < 0.04:
                at += timedelta(days=rng.randint(30, 300))
        if at < END and rng.random() < 0.6:
            for further in range(rng.randint(1, 3)):
                self._bill(f"{number + further + 1}", at + timedelta(days=30 * further))
        self._change(created_at, min(at, END), plan)
        self._write("customers", self.customer_id, self.versions)

    def _is(self, moment: datetime, created_at: datetime, plan: str, **more: Any) -> None:
        rng = self.history.random
        has_contract = self.company.slug == "contracts" and rng.random() < 0.5
        self.versions.append(
            {
                "created_at": created_at,
                "plan": plan,
                "status": "active",
                "updated_at": moment,
                "contract_end_at": moment + timedelta(days=rng.choice([200, 365, 99999])) if has_contract else None,
                **more,
            }
        )

    def _change(self, created_at: datetime, last: datetime, plan: str) -> None:
        rng = self.history.random
        moment = created_at + (last - created_at) * rng.random() + DAY
        chance = rng.random()
        if chance < 0.15:
            self._is(moment, created_at, plan, status="paused")
            self._is(moment + timedelta(days=rng.randint(20, 200)), created_at, plan)
        elif chance < 0.3:
            ends_at = moment + timedelta(days=rng.randint(20, 200)) if rng.random() < 0.7 else None
            self._is(moment, created_at, plan, paused_at=moment - DAY, resumes_at=ends_at)
            if rng.random() < 0.5:
                ends_at = moment + timedelta(days=rng.randint(20, 200))
                self._is(moment + 10 * DAY, created_at, plan, paused_at=moment - DAY, resumes_at=ends_at)
        elif chance < 0.4:
            self._is(moment, created_at, rng.choice(list(PLANS)))
        elif chance < 0.55:
            self._is(moment, created_at, plan, cancelled_at=moment, status="cancelled")
            if rng.random() < 0.4:
                self._is(moment + timedelta(days=rng.randint(20, 200)), created_at, plan)
        elif chance < 0.6:
            self.versions.append({"updated_at": moment, "is_deleted": True})

    def _next(self, at: datetime, months: int | None) -> datetime:
        rng = self.history.random
        if months is None:
            return at + timedelta(days=1 + rng.expovariate(1 / 40))
        if months == 0:
            following = (at + 4 * DAY).replace(day=1) + 31 * DAY
            return following - following.day * DAY
        late = timedelta(hours=rng.choice([0, 0, 5, 50, 100]))
        return at + timedelta(days=30.4375 * months) + late

    def _pay(self, number: int, at: datetime, has_due_dates: bool) -> None:
        rng = self.history.random
        due_at = at + timedelta(days=rng.randint(-10, 20)) if has_due_dates else None
        if rng.random() < 0.02:
            due_at = NEVER
        if rng.random() < 0.02:
            # The CRM hears of the payment first.
            self._is(at + timedelta(seconds=30), self.versions[0]["created_at"], rng.choice(list(PLANS)))
        bill: Row = self._charge(at - DAY, due_at)
        paid = bill | {"paid_at": at, "status": "succeeded", "updated_at": at}
        versions = [bill, paid]
        if rng.random() < 0.02:
            versions.append(paid | {"status": "void", "updated_at": at + DAY})
        self._write("payments", f"{self.customer_id}-{number}", versions)

    def _bill(self, number: str, at: datetime) -> None:
        rng = self.history.random
        due_at = NEVER if rng.random() < 0.1 else at + timedelta(days=rng.randint(5, 60))
        self._write("payments", f"{self.customer_id}-{number}", [self._charge(at, due_at)])

    def _charge(self, at: datetime, due_at: datetime | None) -> Row:
        return {
            "customer_id": self.customer_id,
            "kind": "charge",
            "amount": 10,
            "status": "pending",
            "issued_at": at,
            "due_at": due_at,
            "updated_at": at,
        }

    def _write(self, entity: str, record_id: str, versions: list[Row]) -> None:
        in_order = sorted(versions, key=lambda version: version["updated_at"])
        versions = [version for version in in_order if version["updated_at"] < END]
        first = [version for version in versions if version["updated_at"] < FIRST_LOAD][-1:]
        later = [version for version in versions if version["updated_at"] >= FIRST_LOAD]
        for version in [*first, *later]:
            self.history.rows[entity].append(
                {
                    "company_id": self.company.company_id,
                    KEYS[entity]: record_id,
                    "load_id": 1,
                    "known_at": version["updated_at"],
                    "is_backfill": version in first,
                    "is_deleted": False,
                    **version,
                }
            )
