"""Companies that a shared step left out because it fails on their records or settings: since when, and why.

How such companies are found does not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import class_row

from warehouse.companies.definition import Company
from warehouse.companies.registry import get_company
from warehouse.logs.operations import record_audit
from warehouse.relations import compose

Connection = psycopg.Connection[Any]

LONGEST_REASON = 2000
LATER_RUN = "a later run"
"""Who ended a quarantine that no person ended."""


class Quarantine(NamedTuple):
    """A company that is left out: what failed on it, in which words, and since when."""

    company_id: int
    slug: str
    step: str
    reason: str
    begun_at: datetime

    def __str__(self) -> str:
        return f"{self.slug} is left out: {self.step} fails on it: {self.reason}"


def companies_at_work(connection: Connection) -> list[int]:
    """The ids of the companies that shared steps work on: active, and in no quarantine."""
    rows = connection.execute(compose("select company_id from {companies_at_work} order by company_id"))
    return [company_id for (company_id,) in rows]


def open_quarantines(connection: Connection) -> list[Quarantine]:
    """The active companies that are left out now, by id."""
    query = compose("""
        select company_id, slug, step, reason, begun_at
        from {quarantines} inner join {companies} using (company_id)
        where ended_at is null and is_active
        order by company_id
    """)
    with connection.cursor(row_factory=class_row(Quarantine)) as cursor:
        return cursor.execute(query).fetchall()


def begin_quarantines(
    connection: Connection,
    reasons: Mapping[int, tuple[str, str]],
    *,
    made_by: str,
    dagster_run_id: str | None,
) -> list[Quarantine]:
    """Leave companies out from here on; ``reasons`` has the step and the error's words by company id.

    ``made_by`` is the fingerprint of the SQL that failed. Returns those that were not left out before.
    """
    with connection.cursor() as cursor:
        cursor.executemany(
            compose("""
            insert into {quarantines} (company_id, step, reason, made_by, dagster_run_id)
            values (%s, %s, %s, %s, %s)
            on conflict (company_id) where ended_at is null do nothing
            """),
            [
                (company_id, step[:200], reason[:LONGEST_REASON], made_by, dagster_run_id)
                for company_id, (step, reason) in reasons.items()
            ],
        )
    return [quarantine for quarantine in open_quarantines(connection) if quarantine.company_id in reasons]


def end_outdated_quarantines(connection: Connection, *, made_by: str) -> list[str]:
    """Try companies again whose records, settings or SQL are no longer those that failed; returns their slugs."""
    rows = connection.execute(
        compose("""
        update {quarantines} as quarantines
        set ended_at = now(), ended_by = %(by)s
        from {companies} as companies
        where quarantines.company_id = companies.company_id
            and quarantines.ended_at is null
            and (
                quarantines.made_by <> %(made_by)s
                or companies.updated_at > quarantines.begun_at
                or exists (
                    select from {company_tasks} as tasks
                    where tasks.company_id = companies.company_id and tasks.updated_at > quarantines.begun_at
                )
                or exists (
                    select from {load_log} as loads
                    where loads.company_id = companies.company_id and loads.loaded > 0
                        and loads.finished_at > quarantines.begun_at
                )
            )
        returning companies.slug
        """),
        {"by": LATER_RUN, "made_by": made_by},
    )
    return sorted(slug for (slug,) in rows)


def end_quarantine(connection: Connection, slug: str, actor: str) -> bool:
    """Let the next run try a company again; False where it was in no quarantine. Raises CompanyNotFound."""
    with connection.transaction():
        company: Company = get_company(connection, slug)
        ended = connection.execute(
            compose(
                "update {quarantines} set ended_at = now(), ended_by = %s"
                " where company_id = %s and ended_at is null returning step, reason"
            ),
            [actor, company.company_id],
        ).fetchone()
        if ended is None:
            return False
        record_audit(
            connection,
            actor=actor,
            action="company.quarantine_ended",
            company_id=company.company_id,
            before={"step": ended[0], "reason": ended[1]},
        )
    return True
