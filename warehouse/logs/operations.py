"""What happened here: one row per run of a stage, and one per change that a person made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from warehouse.publication.contract import Contract
from warehouse.relations import AUDIT_LOG, COMPANIES, RUN_LOG, compose

RunStatus = Literal["running", "succeeded", "failed"]


class FailedRun(NamedTuple):
    """A stage that failed for a company, and the error's message."""

    slug: str
    stage: str
    error: str


def record_run(
    connection: psycopg.Connection[Any],
    *,
    stage: str,
    status: RunStatus,
    started_at: datetime,
    finished_at: datetime | None = None,
    company_id: int | None = None,
    dagster_run_id: str | None = None,
    counts: Mapping[str, int | float] | None = None,
    error: str | None = None,
) -> int:
    """Add a row to the run log and return its id. Times are aware; `company_id` none means all companies."""
    row = connection.execute(
        sql.SQL(
            "insert into {} (company_id, stage, dagster_run_id, started_at, finished_at, status, counts,"
            " error) values (%s, %s, %s, %s, %s, %s, %s, %s) returning run_log_id"
        ).format(RUN_LOG.identifier),
        (
            company_id,
            stage,
            dagster_run_id,
            started_at,
            finished_at,
            status,
            Jsonb(dict(counts or {})),
            error,
        ),
    ).fetchone()
    assert row is not None  # noqa: S101  (returning gives the inserted row)
    return int(row[0])


def record_finding(
    connection: psycopg.Connection[Any], *, stage: str, started_at: datetime, finding: str | None
) -> int:
    """Keep what a look-out over all companies found, None where all is well; the operators are told from there."""
    return record_run(
        connection,
        stage=stage,
        status="failed" if finding else "succeeded",
        started_at=started_at,
        finished_at=datetime.now(UTC),
        error=finding,
    )


def failed_runs(connection: psycopg.Connection[Any], dagster_run_id: str) -> list[FailedRun]:
    """The companies and stages that failed in one Dagster run, in the order they ran."""
    query = sql.SQL(
        "select company.slug, run.stage, run.error from {} as run inner join {} as company using (company_id)"
        " where run.dagster_run_id = %s and run.status = 'failed' order by run.run_log_id"
    ).format(RUN_LOG.identifier, COMPANIES.identifier)
    with connection.cursor(row_factory=class_row(FailedRun)) as cursor:
        return cursor.execute(query, [dagster_run_id]).fetchall()


def companies_failed_last(connection: psycopg.Connection[Any], stage: str) -> list[int]:
    """The companies at work whose last row of a stage says that it failed, by id."""
    query = compose("""
        select company_id from (
            select distinct on (company_id) company_id, status
            from {run_log} where stage = %s and company_id is not null
            order by company_id, run_log_id desc
        ) as newest
        where status = 'failed' and company_id in (select company_id from {companies_at_work})
        order by company_id
    """)
    return [company_id for (company_id,) in connection.execute(query, [stage])]


def longest_run(connection: psycopg.Connection[Any], company_id: int, stage: str) -> float:
    """The seconds of the company's longest run of a stage that succeeded; 0 before the first."""
    row = connection.execute(
        compose("""
        select coalesce(extract(epoch from max(finished_at - started_at)), 0) from {run_log}
        where company_id = %s and stage = %s and status = 'succeeded'
        """),
        [company_id, stage],
    ).fetchone()
    return float(row[0]) if row else 0.0


def last_finished_run(connection: psycopg.Connection[Any]) -> datetime | None:
    """When the newest stage of all ended, aware; None before the first."""
    row = connection.execute(compose("select max(finished_at) from {run_log}")).fetchone()
    return row[0] if row else None


def companies_without_scores(
    connection: psycopg.Connection[Any], contracts: Sequence[Contract]
) -> list[tuple[int, str]]:
    """Active companies, by id and slug, of which nothing was ever published by any of these contracts."""
    unpublished = [
        sql.SQL("not exists (select from {} as published where published.company_id = company.company_id)").format(
            contract.publications_v1.identifier
        )
        for contract in contracts
    ]
    query = sql.SQL("select company_id, slug from {} as company where is_active and {} order by company_id").format(
        COMPANIES.identifier, sql.SQL(" and ").join(unpublished)
    )
    return connection.execute(query).fetchall()


def record_audit(
    connection: psycopg.Connection[Any],
    *,
    actor: str,
    action: str,
    company_id: int | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> int:
    """Add a row to the audit log and return its id.

    The time is the server's own, not the injected clock's: an audit tells when a
    change was really made. `before` and `after` are JSON values and hold no secrets.
    """
    row = connection.execute(
        sql.SQL(
            "insert into {} (actor, action, company_id, before, after) values (%s, %s, %s, %s, %s) returning audit_id"
        ).format(AUDIT_LOG.identifier),
        (
            actor,
            action,
            company_id,
            None if before is None else Jsonb(dict(before)),
            None if after is None else Jsonb(dict(after)),
        ),
    ).fetchone()
    assert row is not None  # noqa: S101  (returning gives the inserted row)
    return int(row[0])


def say_who(connection: psycopg.Connection[Any], actor: str, action: str = "") -> None:
    """Tell the registry's trigger who changes companies in this transaction, and what they do.

    Without an action the trigger names it by the fields that change.
    """
    connection.execute(
        "select set_config('churn.actor', %s, true), set_config('churn.action', %s, true)", (actor, action)
    )
