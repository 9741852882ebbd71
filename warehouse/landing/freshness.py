"""Which company's tables have not arrived lately. Dagster's freshness is per asset; this is per company."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from warehouse import relations
from warehouse.clock import Clock
from warehouse.companies.registry import list_companies

LATE_AFTER = timedelta(hours=26)
"""A day, and two hours for a run that starts late or takes long."""


@dataclass(frozen=True)
class LateLoad:
    """A company's table whose last successful load is too long ago, or that was never loaded."""

    company: str
    entity: str
    last_known_at: datetime | None

    def __str__(self) -> str:
        last = f"last loaded {self.last_known_at:%Y-%m-%d %H:%M} UTC" if self.last_known_at else "never loaded"
        return f"{self.company}: {self.entity} {last}"


def late_loads(connection: psycopg.Connection[Any], clock: Clock) -> list[LateLoad]:
    """Every table of every active company that is late by the company's own clock, in the registry's order."""
    query = sql.SQL(
        "select company_id, entity, max(known_at) from {} where status = 'succeeded' group by company_id, entity"
    ).format(relations.LOAD_LOG.identifier)
    newest = {(company_id, entity): at.astimezone(UTC) for company_id, entity, at in connection.execute(query)}
    late = []
    for company in list_companies(connection):
        for entity in company.entities:
            last = newest.get((company.company_id, entity))
            if last is None or last < clock.for_company(company) - LATE_AFTER:
                late.append(LateLoad(company.slug, entity, last))
    return late
