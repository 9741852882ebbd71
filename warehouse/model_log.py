"""The record of trainings in ``ml``: one row per company and training, with every candidate's figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from warehouse import relations


@dataclass(frozen=True)
class TrainingRecord:
    """One training of one company's model. ``rung`` and ``status`` are the words of the table's constraints."""

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


def record_training(conn: psycopg.Connection[Any], record: TrainingRecord) -> int:
    """Write a training and its evaluations; returns its ``training_run_id``. Metrics without a value are left out."""
    row = conn.execute(
        sql.SQL(
            "insert into {} (task, company_id, rung, status, model_name, model_version, mlflow_run_id, as_of_date,"
            " rows, customers, outcomes, decision, created_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, now()) returning training_run_id"
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
        ],
    ).fetchone()
    assert row is not None  # noqa: S101  (returning gives the inserted row)
    training_run_id = int(row[0])
    with conn.cursor() as cursor:
        cursor.executemany(
            sql.SQL(
                "insert into {} (training_run_id, company_id, candidate, metric, value) values (%s, %s, %s, %s, %s)"
            ).format(relations.EVALUATIONS.identifier),
            [
                (training_run_id, record.company_id, candidate, metric, value)
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
