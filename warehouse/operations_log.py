"""What happened here: one row per run of a stage, and one per change that a person made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from warehouse.relations import AUDIT_LOG, RUN_LOG

RunStatus = Literal["running", "succeeded", "failed"]


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
