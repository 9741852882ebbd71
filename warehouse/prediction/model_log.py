"""The record of trainings in ``ml``: one row per company and training, with every candidate's figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from foundation.model_version import ModelVersion
from warehouse import relations

Cause = Literal["first", "schedule", "drift", "grade", "feature_version", "asked"]
"""Why a company is trained: never before, by the calendar, drifted features, bad grades, other features, a person."""

Event = Literal["first", "promoted", "replaced", "kept", "rolled_back", "chosen"]
"""A decision about a champion; `replaced`: it no longer fits, `chosen`: by a person."""


@dataclass(frozen=True)
class TrainingRecord:
    """One training of one company's model. ``rung`` and ``status`` are spelled as the table's constraints have them."""

    task: str
    company_id: int
    rung: str
    status: str
    model_name: str
    model_version: str | None
    mlflow_run_id: str | None
    as_of_date: date
    rows: int
    customers: int
    outcomes: int
    decision: Mapping[str, Any]
    evaluations: Mapping[str, Mapping[str, float | None]]
    cause: Cause


@dataclass(frozen=True)
class Promotion:
    """One decision about a company's champion. With event kept, `to_version` is the challenger that stays one."""

    company_id: int
    task: str
    event: Event
    model_name: str
    from_version: str | None
    to_version: str
    why: str
    figures: Mapping[str, Any]
    actor: str
    training_run_id: int | None = None


@dataclass(frozen=True)
class RecordedPromotion:
    """A decision as it is read back, newest first."""

    event: str
    model_name: str
    from_version: str | None
    to_version: str
    why: str
    actor: str
    decided_at: datetime


@dataclass(frozen=True)
class RecordedTraining:
    """A training as it is read back."""

    training_run_id: int
    model_name: str
    model_version: str | None
    status: str
    rung: str
    cause: str | None
    mlflow_run_id: str | None
    decision: dict[str, Any]
    created_at: datetime

    @property
    def version(self) -> ModelVersion | None:
        """The model that it made; None where it failed."""
        return None if self.model_version is None else ModelVersion(self.model_name, int(self.model_version))


def record_training(conn: psycopg.Connection[Any], record: TrainingRecord) -> int:
    """Write a training and its evaluations; returns its ``training_run_id``. Metrics without a value are left out."""
    row = conn.execute(
        sql.SQL(
            "insert into {} (task, company_id, rung, status, model_name, model_version, mlflow_run_id, as_of_date,"
            " rows, customers, outcomes, decision, cause, created_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, now()) returning training_run_id"
        ).format(relations.TRAINING_RUNS.identifier),
        [
            record.task,
            record.company_id,
            record.rung,
            record.status,
            record.model_name,
            record.model_version,
            record.mlflow_run_id,
            record.as_of_date,
            record.rows,
            record.customers,
            record.outcomes,
            Jsonb(dict(record.decision)),
            record.cause,
        ],
    ).fetchone()
    assert row is not None  # noqa: S101  (returning gives the inserted row)
    training_run_id = int(row[0])
    with conn.cursor() as cursor:
        cursor.executemany(
            sql.SQL(
                "insert into {} (training_run_id, company_id, task, candidate, metric, value)"
                " values (%s, %s, %s, %s, %s, %s)"
            ).format(relations.EVALUATIONS.identifier),
            [
                (training_run_id, record.company_id, record.task, candidate, metric, value)
                for candidate, metrics in record.evaluations.items()
                for metric, value in metrics.items()
                if value is not None
            ],
        )
    return training_run_id


def chosen_model(conn: psycopg.Connection[Any], company_id: int, task: str) -> str | None:
    """The name of the registered model that the company's last training chose, or None before its first."""
    row = conn.execute(
        sql.SQL(
            "select model_name from {} where company_id = %s and task = %s and status <> 'failed'"
            " order by training_run_id desc limit 1"
        ).format(relations.TRAINING_RUNS.identifier),
        [company_id, task],
    ).fetchone()
    return row[0] if row else None


def last_training_date(conn: psycopg.Connection[Any], company_id: int, task: str) -> date | None:
    """The company's own date of its last training that did not fail, or None."""
    row = conn.execute(
        relations.compose(
            "select max(as_of_date) from {training_runs} where company_id = %s and task = %s and status <> 'failed'"
        ),
        [company_id, task],
    ).fetchone()
    return row[0] if row else None


def record_promotion(conn: psycopg.Connection[Any], promotion: Promotion) -> int:
    """Write a decision about a champion; returns its ``promotion_id``."""
    row = conn.execute(
        relations.compose("""
        insert into {promotions} (company_id, task, event, model_name, from_version, to_version, why, figures, actor,
            training_run_id)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning promotion_id
        """),
        [
            promotion.company_id,
            promotion.task,
            promotion.event,
            promotion.model_name,
            promotion.from_version,
            promotion.to_version,
            promotion.why,
            Jsonb(dict(promotion.figures)),
            promotion.actor,
            promotion.training_run_id,
        ],
    ).fetchone()
    assert row is not None  # noqa: S101  (returning gives the inserted row)
    return int(row[0])


def promotions(conn: psycopg.Connection[Any], company_id: int, task: str) -> list[RecordedPromotion]:
    """Every decision about a company's champions, newest first."""
    query = relations.compose("""
    select event, model_name, from_version, to_version, why, actor, decided_at from {promotions}
    where company_id = %s and task = %s order by promotion_id desc
    """)
    with conn.cursor(row_factory=class_row(RecordedPromotion)) as cursor:
        return cursor.execute(query, [company_id, task]).fetchall()


def previous_champion(conn: psycopg.Connection[Any], version: ModelVersion) -> ModelVersion | None:
    """The version that published before this one became champion; None where there was none.

    A rollback to this version does not count: rolling back twice goes two champions back, not forth again.
    """
    row = conn.execute(
        relations.compose("""
        select from_version from {promotions}
        where model_name = %s and to_version = %s and event in ('first', 'promoted', 'replaced', 'chosen')
        order by promotion_id desc limit 1
        """),
        [version.name, str(version.number)],
    ).fetchone()
    return ModelVersion(version.name, int(row[0])) if row and row[0] else None


def trainings(conn: psycopg.Connection[Any], company_id: int, task: str) -> list[RecordedTraining]:
    """Every training of a company, newest first."""
    query = relations.compose("""
    select training_run_id, model_name, model_version, status, rung, cause, mlflow_run_id,
        coalesce(decision, '{{}}') as decision, created_at
    from {training_runs} where company_id = %s and task = %s order by training_run_id desc
    """)
    with conn.cursor(row_factory=class_row(RecordedTraining)) as cursor:
        return cursor.execute(query, [company_id, task]).fetchall()


def newest_challenger(conn: psycopg.Connection[Any], champion: ModelVersion) -> ModelVersion | None:
    """The last version that was trained after the champion and did not replace it; None where there is none."""
    row = conn.execute(
        relations.compose("""
        select model_version from {training_runs}
        where model_name = %s and status = 'kept_champion' and model_version::int > %s::int
        order by training_run_id desc limit 1
        """),
        [champion.name, champion.number],
    ).fetchone()
    return ModelVersion(champion.name, int(row[0])) if row else None
