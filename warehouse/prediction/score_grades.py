"""Grades of published scores: which score had which outcome, and how good they were together.

A score is graded as it was published. What the figures mean is `ml_assets.judging.grading`'s business.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.rows import class_row

from warehouse import relations
from warehouse.connection import Warehouse
from warehouse.frames import copy_arrow, read_arrow
from warehouse.prediction.task_relations import TaskRelations
from warehouse.roles import Role


@dataclass(frozen=True)
class NewGrades:
    """What one grading did: scores graded for the first time, outcomes corrected, and the months these lie in."""

    graded: int
    corrected: int
    months: frozenset[date]


@dataclass(frozen=True)
class Figures:
    """How good scores turned out to be. Shares are in [0, 1]; a figure that means nothing (one class only) is None."""

    scores: int
    customers: int
    outcomes: int
    promised: float
    kept: float
    kept_low: float
    kept_high: float
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    average_precision: float | None
    log_loss: float | None
    calibration_error: float | None
    lift_top_decile: float | None


@dataclass(frozen=True)
class Grade(Figures):
    """Promised against kept, of one company and month, or over all months (as_of_month None)."""

    as_of_month: date | None
    segment: str
    model_version: str
    evidence_level: str

    @property
    def is_kept(self) -> bool:
        """Whether what was promised lies within what the outcomes allow."""
        return self.kept_low <= self.promised <= self.kept_high


FIGURES = (
    *((name, pa.int64()) for name in ("scores", "customers", "outcomes")),
    *((name, pa.float64()) for name in ("promised", "kept", "kept_low", "kept_high")),
    *(
        (name + ending, pa.float64())
        for name in ("auc", "average_precision", "log_loss")
        for ending in ("", "_low", "_high")
    ),
    *((name, pa.float64()) for name in ("brier", "calibration_error", "lift_top_decile")),
)
"""The columns of figures to write, with their intervals."""

GRADES = pa.schema(
    [
        ("company_id", pa.int32()),
        ("task", pa.string()),
        ("as_of_month", pa.date32()),
        *((name, pa.string()) for name in ("segment", "model_version", "evidence_level")),
        *FIGURES,
        ("bins", pa.string()),
        ("deciles", pa.string()),
        ("computed_at", pa.timestamp("us", "UTC")),
    ]
)
"""The columns of grades to write; bins and deciles are JSON text."""


def grade_new_outcomes(conn: psycopg.Connection[Any], company_id: int, task: TaskRelations, now: datetime) -> NewGrades:
    """Give every published score whose label has matured its outcome, and correct those whose label was corrected.

    Scores of dates that were replayed after an outage are left out: nobody could act on them.
    """
    rows = conn.execute(
        sql.SQL("""
        with newest_labels as (
            select distinct on (as_of_date, {entity}) *
            from {labels}
            where company_id = %(company)s and (
                known_at >= (
                    select coalesce(max(label_known_at), '-infinity') from {grades}
                    where company_id = %(company)s and task = %(task)s
                )
                or as_of_date in (
                    select as_of_date from {publications} where company_id = %(company)s
                    except
                    select as_of_date from {grades} where company_id = %(company)s and task = %(task)s
                )
            )
            order by as_of_date, {entity}, label_version desc
        )
        insert into {grades} as grade (company_id, task, as_of_date, entity_id, probability, model_version,
            evidence_level, segment, outcome, label_status, label_version, label_known_at, graded_at)
        select score.company_id, %(task)s, score.as_of_date, score.{entity}, score.{probability},
            score.model_version, score.evidence_level, {segment}, label.{outcome}, label.label_status,
            label.label_version, label.known_at, %(now)s
        from newest_labels as label
        inner join {scores} as score
            on score.company_id = label.company_id and score.as_of_date = label.as_of_date
            and score.{entity} = label.{entity}
        {segments}
        left join {grades} as before
            on before.company_id = score.company_id and before.task = %(task)s
            and before.as_of_date = score.as_of_date and before.entity_id = score.{entity}
        left join {holds} as hold
            on hold.company_id = score.company_id and hold.task = %(task)s and hold.as_of_date = score.as_of_date
            and hold.release = 'replayed'
        where hold.as_of_date is null and (
            (before.entity_id is null and label.{outcome} is not null) or before.label_version < label.label_version
        )
        on conflict (company_id, task, as_of_date, entity_id) do update set
            outcome = excluded.outcome, label_status = excluded.label_status, label_version = excluded.label_version,
            label_known_at = excluded.label_known_at, graded_at = excluded.graded_at,
            corrections = grade.corrections + (grade.outcome is distinct from excluded.outcome)::int
        returning as_of_date, xmax = 0
        """).format(
            labels=task.label_versions.identifier,
            grades=relations.SCORE_GRADES.identifier,
            publications=task.contract.publications.identifier,
            scores=task.contract.scores.identifier,
            segment=sql.SQL("entity.segment" if task.segments else "null"),
            segments=_join_segments(task),
            holds=relations.PUBLICATION_HOLDS.identifier,
            entity=sql.Identifier(task.contract.entity_id),
            probability=sql.Identifier(task.contract.probability),
            outcome=sql.Identifier(task.label),
        ),
        {"company": company_id, "task": task.name, "now": now},
    ).fetchall()
    graded = sum(is_new for _, is_new in rows)
    return NewGrades(graded, len(rows) - graded, frozenset(day.replace(day=1) for day, _ in rows))


def _join_segments(task: TaskRelations) -> sql.Composable:
    if task.segments is None:
        return sql.SQL("")
    return sql.SQL(
        "left join {segments} as entity on entity.company_id = score.company_id and entity.{id} = score.{id}"
    ).format(segments=task.segments.identifier, id=sql.Identifier(task.contract.entity_id))


def graded_scores(warehouse: Warehouse, company_id: int, task: str) -> pa.Table:
    """The company's graded scores: entity_id, as_of_date, probability, outcome, segment, model_version,
    evidence_level, ordered by date and entity."""
    return read_arrow(
        warehouse,
        sql.SQL(
            "select entity_id, as_of_date, probability, outcome, segment, model_version, evidence_level"
            " from ml.score_grades where company_id = {} and task = {} and outcome is not null"
            " order by as_of_date, entity_id"
        ).format(company_id, task),
        role=Role.ml,
    )


def write_grades(
    conn: psycopg.Connection[Any], company_id: int, task: str, grades: pa.Table, months: Collection[date]
) -> None:
    """Replace the company's grades over all months, and those of the given months. ``grades`` has GRADES' columns."""
    with conn.transaction(), conn.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "delete from {} where company_id = %s and task = %s and (as_of_month is null or as_of_month = any(%s))"
            ).format(relations.GRADES.identifier),
            [company_id, task, list(months)],
        )
        copy_arrow(cursor, grades.select(GRADES.names).cast(GRADES), relations.GRADES, json_columns=["bins", "deciles"])


def read_grades(conn: psycopg.Connection[Any], company_id: int, task: str) -> list[Grade]:
    """The company's grades: over all months first, then by month, the newest first; wholes before their parts."""
    columns = sql.SQL(", ").join(map(sql.Identifier, Grade.__dataclass_fields__))
    with conn.cursor(row_factory=class_row(Grade)) as cursor:
        return cursor.execute(
            sql.SQL(
                "select {} from {} where company_id = %s and task = %s order by as_of_month desc nulls first,"
                " segment <> 'all', model_version <> 'all', evidence_level <> 'all', segment, model_version"
            ).format(columns, relations.GRADES.identifier),
            [company_id, task],
        ).fetchall()
