"""Companies for the dbt tests: one whose customers cancel, one whose fall silent, and one whose pay less."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from pipeline.companies import parse_definition
from warehouse.companies.registry import add_company

ENTITIES = ("customers", "tickets", "payments", "events", "campaigns", "sends")
BUSINESS_HOURS = {day: ["09:00", "17:00"] for day in ("monday", "tuesday", "wednesday", "thursday", "friday")}
CUSTOM_ATTRIBUTES = [
    {"name": "industry", "kind": "category", "is_fixed": True, "label": "Industry", "unit": "name"},
    {"name": "employees", "kind": "number", "is_fixed": False, "label": "Employees", "unit": "people"},
    {"name": "is_partner", "kind": "flag", "is_fixed": False, "label": "Partner", "unit": "yes or no"},
]


def register_companies(
    connection: psycopg.Connection[Any], *, now: datetime, first_load: datetime, with_downgrades: bool = False
) -> list[int]:
    """Register them with a clock of their own, as if their first load had been made at that moment.

    The one whose customers pay less only where it is asked for.
    """
    kinds: list[dict[str, Any]] = [
        {"slug": "subscriptions", "churn_kind": "cancellation", "horizon_days": 30, "currency": "EUR"},
        {"slug": "shop", "churn_kind": "inactivity", "inactivity_days": 60, "horizon_days": 60, "currency": "GBP"},
    ]
    if with_downgrades:
        kinds.append({"slug": "plans", "churn_kind": "downgrade", "downgrade_share": 0.2, "currency": "EUR"})
    company_ids = []
    for kind in kinds:
        common = {
            "name": kind["slug"],
            "connector": "files",
            "clock_at": now,
            "entities": ENTITIES,
            "tasks": {"support": {"horizon_days": 14}},
        }
        definition = parse_definition(common | kind)
        company = add_company(connection, definition, "tests")
        company_ids.append(company.company_id)
        connection.execute(
            "update ops.companies set custom_attributes = %s, segment_by = 'industry', time_zone = 'Europe/Berlin'"
            " where company_id = %s",
            [Jsonb(CUSTOM_ATTRIBUTES), company.company_id],
        )
        # The other company answers at all hours.
        if kind["slug"] == "subscriptions":
            connection.execute(
                "update ops.companies set business_hours = %s where company_id = %s",
                [Jsonb(BUSINESS_HOURS), company.company_id],
            )
        record_load(connection, company.company_id, first_load, is_backfill=True)
        record_load(connection, company.company_id, now, is_backfill=False)
    return company_ids


def record_load(connection: psycopg.Connection[Any], company_id: int, at: datetime, *, is_backfill: bool) -> None:
    """Log a load of all entities that was complete at that moment, and set the company's clock to it."""
    connection.execute("update ops.companies set clock_at = %s where company_id = %s", [at, company_id])
    for entity in ENTITIES:
        connection.execute(
            "insert into ops.load_log (company_id, entity, is_backfill, known_at, started_at, finished_at, status)"
            " values (%s, %s, %s, %s, %s, %s, 'succeeded')",
            [company_id, entity, is_backfill, at, at, at],
        )
        connection.execute(
            "insert into ops.sync_cursors (company_id, entity, backfill_completed_at, moved_at)"
            " values (%s, %s, %s, %s) on conflict do nothing",
            [company_id, entity, at, at],
        )
