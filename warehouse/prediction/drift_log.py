"""The record of drift in ``ml``: what training was like, kept once per champion, and each date's measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from warehouse import relations


@dataclass(frozen=True)
class DriftRow:
    """One feature's measurement; `feature` may also be the score, or all features together."""

    feature: str
    label: str
    psi: float | None
    distance: float | None
    importance: float | None
    usual: float | None
    is_drifted: bool
    share_missing: float | None
    share_missing_in_training: float | None
    new_categories: list[str]
    note: str


def read_reference(
    conn: psycopg.Connection[Any], company_id: int, task: str, model_version: str
) -> dict[str, Any] | None:
    """What was kept of this model's training, or None."""
    row = conn.execute(
        relations.compose(
            "select profile from {drift_references} where company_id = %s and task = %s and model_version = %s"
        ),
        [company_id, task, model_version],
    ).fetchone()
    return row[0] if row else None


def keep_reference(
    conn: psycopg.Connection[Any],
    company_id: int,
    task: str,
    model_version: str,
    profile: Mapping[str, Any],
    now: datetime,
) -> None:
    """Keep what this model's training was like, in place of what was kept before."""
    conn.execute(
        relations.compose(
            "insert into {drift_references} (company_id, task, model_version, profile, created_at)"
            " values (%s, %s, %s, %s, %s) on conflict (company_id, task, model_version)"
            " do update set profile = excluded.profile, created_at = excluded.created_at"
        ),
        [company_id, task, model_version, Jsonb(dict(profile)), now],
    )


def is_measured(
    conn: psycopg.Connection[Any], company_id: int, task: str, as_of_date: date, model_version: str
) -> bool:
    """Whether the date was measured against this model already."""
    row = conn.execute(
        relations.compose(
            "select exists (select from {feature_drift}"
            " where company_id = %s and task = %s and as_of_date = %s and model_version = %s)"
        ),
        [company_id, task, as_of_date, model_version],
    ).fetchone()
    return bool(row and row[0])


def record_drift(
    conn: psycopg.Connection[Any],
    company_id: int,
    task: str,
    as_of_date: date,
    model_version: str,
    rows: Sequence[DriftRow],
    now: datetime,
) -> None:
    """Write one date's measurements in place of those that were there."""
    with conn.transaction(), conn.cursor() as cursor:
        cursor.execute(
            relations.compose("delete from {feature_drift} where company_id = %s and task = %s and as_of_date = %s"),
            [company_id, task, as_of_date],
        )
        names = list(DriftRow.__dataclass_fields__)
        cursor.executemany(
            sql.SQL("insert into {} (company_id, task, as_of_date, model_version, measured_at, {}) values ({})").format(
                relations.FEATURE_DRIFT.identifier,
                sql.SQL(", ").join(map(sql.Identifier, names)),
                sql.SQL(", ").join([sql.Placeholder()] * (5 + len(names))),
            ),
            [
                [company_id, task, as_of_date, model_version, now, *(getattr(row, name) for name in names)]
                for row in rows
            ],
        )


def read_drift(
    conn: psycopg.Connection[Any], company_id: int, task: str, as_of_date: date | None = None
) -> tuple[date, list[DriftRow]] | None:
    """One date's measurements, the newest's if none is named, the heaviest feature first; None without any."""
    row = conn.execute(
        relations.compose(
            "select max(as_of_date) from {feature_drift} where company_id = %(company)s and task = %(task)s"
            " and (as_of_date = %(date)s or %(date)s::date is null)"
        ),
        {"company": company_id, "task": task, "date": as_of_date},
    ).fetchone()
    if row is None or row[0] is None:
        return None
    with conn.cursor(row_factory=class_row(DriftRow)) as cursor:
        newest = cursor.execute(
            sql.SQL(
                "select {} from {} where company_id = %s and task = %s and as_of_date = %s"
                " order by importance desc nulls first, feature"
            ).format(
                sql.SQL(", ").join(map(sql.Identifier, DriftRow.__dataclass_fields__)),
                relations.FEATURE_DRIFT.identifier,
            ),
            [company_id, task, row[0]],
        ).fetchall()
    return row[0], newest


def last_verdicts(
    conn: psycopg.Connection[Any], company_id: int, task: str, model_version: str, features: Sequence[str], dates: int
) -> list[bool]:
    """Whether any of ``features`` had drifted, at each of the last ``dates`` dates measured against this model."""
    rows = conn.execute(
        relations.compose(
            "select bool_or(is_drifted) from {feature_drift}"
            " where company_id = %s and task = %s and model_version = %s and feature = any(%s)"
            " group by as_of_date order by as_of_date desc limit %s"
        ),
        [company_id, task, model_version, list(features), dates],
    ).fetchall()
    return [drifted for (drifted,) in rows]
