"""The track record: past months as they would have been scored, and how those scores turned out to be.

Nothing here is published. What is replayed, and how, belongs in `pipeline.prediction.track_record`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from warehouse import relations
from warehouse.connection import Warehouse
from warehouse.frames import copy_arrow, read_arrow
from warehouse.prediction.score_grades import FIGURES, Figures
from warehouse.prediction.task_relations import TaskRelations
from warehouse.roles import Role

SCORES = pa.schema(
    [
        ("company_id", pa.int32()),
        ("task", pa.string()),
        ("as_of_date", pa.date32()),
        ("entity_id", pa.string()),
        ("probability", pa.float64()),
        ("risk_level", pa.string()),
        ("reasons", pa.string()),
        ("value_at_stake", pa.float64()),
    ]
)
"""The columns of replayed scores to write; reasons are JSON text."""

WARNINGS = (
    *((name, pa.int64()) for name in ("high_risk", "high_risk_outcomes")),
    *((f"high_risk_kept{ending}", pa.float64()) for ending in ("", "_low", "_high")),
    *((name, pa.int64()) for name in ("entities_with_outcome", "entities_named")),
    *((f"named_share{ending}", pa.float64()) for ending in ("", "_low", "_high")),
    *((name, pa.float64()) for name in ("value_lost", "value_lost_named")),
)
"""The columns of what `ml_assets.judging.warned` gives."""

GRADES = pa.schema(
    [
        ("company_id", pa.int32()),
        ("task", pa.string()),
        *((name, pa.date32()) for name in ("as_of_month", "first_month", "last_month")),
        *FIGURES,
        *((name, pa.string()) for name in ("bins", "deciles")),
        *WARNINGS,
        ("computed_at", pa.timestamp("us", "UTC")),
    ]
)
"""The columns of its grades to write; bins and deciles are JSON text."""


@dataclass(frozen=True)
class ReplayedMonth:
    """One month that was replayed: what made it, and what it rests on.

    `recipe` is None where no candidate was tried. `rows`, `customers` and `outcomes` are the company's own that were
    known by then.
    """

    as_of_date: date
    feature_version: str
    label_settings: Mapping[str, Any]
    labels_since: datetime
    rung: str
    candidate: str
    recipe: Mapping[str, Any] | None
    recipe_of: date
    rows: int
    customers: int
    outcomes: int


@dataclass(frozen=True)
class RecordGrade(Figures):
    """How good the replayed scores of a month turned out to be, or those of the newest months (as_of_month None).

    Shares are in [0, 1], None where they mean nothing; values are in the company's currency.
    """

    as_of_month: date | None
    first_month: date
    last_month: date
    high_risk: int
    high_risk_outcomes: int
    high_risk_kept: float | None
    high_risk_kept_low: float | None
    high_risk_kept_high: float | None
    entities_with_outcome: int
    entities_named: int
    named_share: float | None
    named_share_low: float | None
    named_share_high: float | None
    value_lost: float
    value_lost_named: float


def replayed_months(conn: psycopg.Connection[Any], company_id: int, task: str) -> list[ReplayedMonth]:
    """The months that were replayed, newest first."""
    columns = sql.SQL(", ").join(map(sql.Identifier, ReplayedMonth.__dataclass_fields__))
    query = sql.SQL("select {} from {} where company_id = %s and task = %s order by as_of_date desc").format(
        columns, relations.TRACK_RECORD_MONTHS.identifier
    )
    with conn.cursor(row_factory=class_row(ReplayedMonth)) as cursor:
        return cursor.execute(query, [company_id, task]).fetchall()


def unpublished_months(
    conn: psycopg.Connection[Any], task: TaskRelations, company_id: int, today: date, horizon_days: int
) -> dict[date, str]:
    """The version of the features of each past date of the monthly grid for which nothing was published.

    From the first one at which an outcome was known, of the oldest date of the grid that has any. A date whose
    features are of several versions is being built again, and left out.
    """
    query = sql.SQL("""
        select as_of_date, min(feature_version) from {matrix}
        where company_id = %(company)s and as_of_date < %(today)s and extract(day from as_of_date) = 1
            and as_of_date not in (select as_of_date from {publications} where company_id = %(company)s)
            and as_of_date >= (
                select min(as_of_date) + %(horizon)s::int from {label_versions}
                where company_id = %(company)s and {label} is not null and extract(day from as_of_date) = 1
            )
        group by as_of_date having min(feature_version) = max(feature_version)
        order by as_of_date
    """).format(
        matrix=task.matrix.identifier,
        publications=task.contract.publications.identifier,
        label_versions=task.label_versions.identifier,
        label=sql.Identifier(task.label),
    )
    values = {"company": company_id, "today": today, "horizon": horizon_days}
    return dict(conn.execute(query, values).fetchall())


def settings_were_changed(conn: psycopg.Connection[Any], company_id: int, task: str) -> bool:
    """Whether the company's settings of the task are other ones than it began with."""
    row = conn.execute(
        relations.compose("select updated_at > created_at from {company_tasks} where company_id = %s and task = %s"),
        [company_id, task],
    ).fetchone()
    return bool(row and row[0])


def forget_other_settings(
    conn: psycopg.Connection[Any], company_id: int, task: str, label_settings: Mapping[str, Any]
) -> int:
    """Delete the months whose labels had another meaning, with their scores; returns how many there were.

    The grades that rested on them go, too.
    """
    gone = conn.execute(
        relations.compose(
            "delete from {track_record_months} where company_id = %s and task = %s and label_settings <> %s"
        ),
        [company_id, task, Jsonb(dict(label_settings))],
    ).rowcount
    if gone:
        conn.execute(
            relations.compose("delete from {track_record_grades} where company_id = %s and task = %s"),
            [company_id, task],
        )
    return gone


def write_month(
    conn: psycopg.Connection[Any],
    company_id: int,
    task: str,
    month: ReplayedMonth,
    scores: Iterator[pa.Table],
    now: datetime,
) -> int:
    """Keep a month in place of what it was before; returns how many scores. ``scores`` are tables of SCORES' columns.

    All or nothing: whoever is stopped meanwhile leaves what was there before.
    """
    values = {name: getattr(month, name) for name in ReplayedMonth.__dataclass_fields__}
    values |= {"label_settings": Jsonb(dict(month.label_settings)), "company_id": company_id, "task": task}
    values |= {"recipe": None if month.recipe is None else Jsonb(dict(month.recipe)), "replayed_at": now}
    with conn.transaction(), conn.cursor() as cursor:
        cursor.execute(
            relations.compose(
                "delete from {track_record_months} where company_id = %s and task = %s and as_of_date = %s"
            ),
            [company_id, task, month.as_of_date],
        )
        cursor.execute(
            sql.SQL("insert into {} ({}) values ({})").format(
                relations.TRACK_RECORD_MONTHS.identifier,
                sql.SQL(", ").join(map(sql.Identifier, values)),
                sql.SQL(", ").join(map(sql.Placeholder, values)),
            ),
            values,
        )
        return sum(
            copy_arrow(
                cursor, table.select(SCORES.names).cast(SCORES), relations.TRACK_RECORD, json_columns=["reasons"]
            )
            for table in scores
        )


def refresh_outcomes(conn: psycopg.Connection[Any], company_id: int, task: TaskRelations) -> frozenset[date]:
    """Give replayed scores the outcomes that are known today; returns the months in which any changed."""
    names = {
        "record": relations.TRACK_RECORD.identifier,
        "labels": task.labels.identifier,
        "entity": sql.Identifier(task.contract.entity_id),
        "outcome": sql.Identifier(task.label),
    }
    values = {"company": company_id, "task": task.name}
    # Two statements, and no table beside itself: right after a month is written nothing is known of its size, and
    # each row then has to be found by the whole key.
    known = conn.execute(
        sql.SQL("""
        update {record} as record set outcome = label.{outcome}
        from {labels} as label
        where record.company_id = %(company)s and record.task = %(task)s
            and label.company_id = record.company_id and label.as_of_date = record.as_of_date
            and label.{entity} = record.entity_id
            and label.is_mature and record.outcome is distinct from label.{outcome}
        returning record.as_of_date
        """).format(**names),
        values,
    ).fetchall()
    withdrawn = conn.execute(
        sql.SQL("""
        update {record} as record set outcome = null
        where record.company_id = %(company)s and record.task = %(task)s and record.outcome is not null
            and not exists (
                select from {labels} as label
                where label.company_id = record.company_id and label.as_of_date = record.as_of_date
                    and label.{entity} = record.entity_id and label.is_mature
            )
        returning record.as_of_date
        """).format(**names),
        values,
    ).fetchall()
    return frozenset(day for (day,) in [*known, *withdrawn])


def record_with_outcomes(warehouse: Warehouse, company_id: int, task: str) -> pa.Table:
    """Replayed scores whose outcome is known: entity_id, as_of_date, probability, risk_level, value_at_stake, outcome,
    ordered by date and entity."""
    query = sql.SQL(
        "select entity_id, as_of_date, probability, risk_level, value_at_stake, outcome from {}"
        " where company_id = {} and task = {} and outcome is not null order by as_of_date, entity_id"
    ).format(relations.TRACK_RECORD.identifier, company_id, task)
    return read_arrow(warehouse, query, role=Role.ml)


def write_record_grades(conn: psycopg.Connection[Any], company_id: int, task: str, grades: pa.Table) -> None:
    """Replace the company's grades by these, which have GRADES' columns."""
    with conn.transaction(), conn.cursor() as cursor:
        cursor.execute(
            relations.compose("delete from {track_record_grades} where company_id = %s and task = %s"),
            [company_id, task],
        )
        copy_arrow(
            cursor,
            grades.select(GRADES.names).cast(GRADES),
            relations.TRACK_RECORD_GRADES,
            json_columns=["bins", "deciles"],
        )


def read_record_grades(conn: psycopg.Connection[Any], company_id: int, task: str) -> list[RecordGrade]:
    """The grades: over the newest months first, then by month, the newest first."""
    columns = sql.SQL(", ").join(map(sql.Identifier, RecordGrade.__dataclass_fields__))
    query = sql.SQL(
        "select {} from {} where company_id = %s and task = %s order by as_of_month desc nulls first"
    ).format(columns, relations.TRACK_RECORD_GRADES.identifier)
    with conn.cursor(row_factory=class_row(RecordGrade)) as cursor:
        return cursor.execute(query, [company_id, task]).fetchall()
