"""Grades of challengers: which score made in shadow had which outcome, beside the one that was published.

What was published, and its outcome, stands in ``score_grades``; a score in shadow takes its outcome from there.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.rows import class_row

from foundation.model_version import ModelVersion
from warehouse import relations
from warehouse.connection import Warehouse
from warehouse.frames import copy_arrow, read_arrow
from warehouse.prediction.score_grades import FIGURES, Figures
from warehouse.roles import Role

ScoredBy = Literal["challenger", "champion"]


@dataclass(frozen=True)
class ShadowGrade(Figures):
    """How good the scores of a challenger, or the published ones beside them, turned out to be."""

    model_version: str
    scored_by: ScoredBy
    first_date: date
    last_date: date


SHADOW_GRADES = pa.schema(
    [
        ("company_id", pa.int32()),
        ("task", pa.string()),
        ("model_version", pa.string()),
        ("scored_by", pa.string()),
        ("first_date", pa.date32()),
        ("last_date", pa.date32()),
        *FIGURES,
        ("computed_at", pa.timestamp("us", "UTC")),
    ]
)
"""The columns of grades to write."""


def challengers_of(conn: psycopg.Connection[Any], company_id: int, task: str, months: Collection[date]) -> list[str]:
    """The models that scored the company in shadow at a date in one of these months (first days)."""
    rows = conn.execute(
        relations.compose(
            "select distinct model_version from {shadow_scores} where company_id = %s and task = %s"
            " and date_trunc('month', as_of_date)::date = any(%s) order by 1"
        ),
        [company_id, task, list(months)],
    )
    return [version for (version,) in rows]


def forget_shadow_scores(conn: psycopg.Connection[Any], company_id: int, task: str, before: date) -> None:
    """Delete what challengers said of dates earlier than ``before``."""
    conn.execute(
        relations.compose("delete from {shadow_scores} where company_id = %s and task = %s and as_of_date < %s"),
        [company_id, task, before],
    )


def replace_shadow_scores(
    conn: psycopg.Connection[Any],
    company_id: int,
    task: str,
    as_of_date: date,
    version: ModelVersion,
    scores: pa.Table,
) -> None:
    """Write what a challenger says of a date, in place of what it said before: columns of ml.shadow_scores."""
    conn.execute(
        relations.compose(
            "delete from {shadow_scores} where company_id = %s and task = %s and as_of_date = %s and model_version = %s"
        ),
        [company_id, task, as_of_date, str(version)],
    )
    with conn.cursor() as cursor:
        copy_arrow(cursor, scores, relations.SHADOW_SCORES)


def shadowed_scores(warehouse: Warehouse, company_id: int, task: str, challenger: str) -> pa.Table:
    """A challenger's scores whose outcome is known: entity_id, as_of_date, challenger and champion (what each
    said), outcome, ordered by date and entity. Dates that it published itself are left out."""
    return read_arrow(
        warehouse,
        sql.SQL(
            "select grade.entity_id, grade.as_of_date, shadow.probability as challenger,"
            " grade.probability as champion, grade.outcome"
            " from ml.shadow_scores as shadow inner join ml.score_grades as grade"
            " on grade.company_id = shadow.company_id and grade.task = shadow.task"
            " and grade.as_of_date = shadow.as_of_date and grade.entity_id = shadow.entity_id"
            " and grade.model_version <> shadow.model_version"
            " where shadow.company_id = {} and shadow.model_version = {} and grade.task = {}"
            " and grade.outcome is not null order by grade.as_of_date, grade.entity_id"
        ).format(company_id, challenger, task),
        role=Role.ml,
    )


def write_shadow_grades(
    conn: psycopg.Connection[Any], company_id: int, task: str, challenger: str, grades: pa.Table
) -> None:
    """Replace what is known of one challenger. ``grades`` has SHADOW_GRADES' columns."""
    with conn.transaction(), conn.cursor() as cursor:
        cursor.execute(
            relations.compose("delete from {shadow_grades} where company_id = %s and task = %s and model_version = %s"),
            [company_id, task, challenger],
        )
        copy_arrow(cursor, grades.select(SHADOW_GRADES.names).cast(SHADOW_GRADES), relations.SHADOW_GRADES)


def read_shadow_grades(conn: psycopg.Connection[Any], company_id: int, task: str) -> list[ShadowGrade]:
    """The company's challengers, the last to score first, each before the champion that it is held against."""
    columns = sql.SQL(", ").join(map(sql.Identifier, ShadowGrade.__dataclass_fields__))
    with conn.cursor(row_factory=class_row(ShadowGrade)) as cursor:
        return cursor.execute(
            sql.SQL(
                "select {} from {} where company_id = %s and task = %s"
                " order by last_date desc, model_version, scored_by"
            ).format(columns, relations.SHADOW_GRADES.identifier),
            [company_id, task],
        ).fetchall()
