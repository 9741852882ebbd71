"""What is kept of scores beside what is published: the parts of each customer's newest one, and why it moved.

Which parts may be used again, and how a move is split, does not belong here.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql

from warehouse import relations
from warehouse.connection import Warehouse
from warehouse.frames import copy_arrow, read_arrow
from warehouse.roles import Role

EXPLAINED = pa.schema(
    [
        ("company_id", pa.int32()),
        ("customer_id", pa.string()),
        ("model_version", pa.string()),
        ("signature", pa.int64()),
        ("parts", pa.binary()),
    ]
)
MOVES = pa.schema(
    [
        ("company_id", pa.int32()),
        ("customer_id", pa.string()),
        ("as_of_date", pa.date32()),
        ("previous_as_of_date", pa.date32()),
        ("model_version", pa.string()),
        ("previous_model_version", pa.string()),
        ("previous_probability", pa.float64()),
        ("log_odds_change", pa.float64()),
        ("behaviour", pa.float64()),
        ("model", pa.float64()),
        ("correction", pa.float64()),
        ("main_feature", pa.string()),
        ("main_feature_change", pa.float64()),
    ]
)


def published_probabilities(warehouse: Warehouse, company_id: int, as_of_date: date) -> pa.Table:
    """customer_id and churn_probability of one published set, by customer_id."""
    return read_arrow(
        warehouse,
        sql.SQL(
            "select customer_id, churn_probability from predictions.churn_scores_v1"
            " where company_id = {} and as_of_date = {} order by customer_id"
        ).format(company_id, as_of_date),
        role=Role.ml,
    )


def explained_parts(warehouse: Warehouse, company_id: int, model_version: str, first: str, last: str) -> pa.Table:
    """customer_id, signature and parts that a model gave customers from ``first`` to ``last``."""
    return read_arrow(
        warehouse,
        sql.SQL(
            "select customer_id, signature, parts from ml.explained_parts"
            " where company_id = {} and model_version = {} and customer_id between {} and {} order by customer_id"
        ).format(company_id, model_version, first, last),
        role=Role.ml,
    )


def save_explained_parts(conn: psycopg.Connection[Any], company_id: int, explained: pa.Table) -> None:
    """Keep parts (columns of EXPLAINED, one company's) in place of what the same customers had."""
    with conn.cursor() as cursor:
        cursor.execute(
            relations.compose("delete from {explained_parts} where company_id = %s and customer_id = any(%s)"),
            [company_id, explained["customer_id"].to_pylist()],
        )
        copy_arrow(cursor, explained.select(EXPLAINED.names).cast(EXPLAINED), relations.EXPLAINED_PARTS)


def forget_explained_parts(conn: psycopg.Connection[Any], company_id: int, but_of: str) -> None:
    """Delete the parts that models other than ``but_of`` gave the company's customers."""
    conn.execute(
        relations.compose("delete from {explained_parts} where company_id = %s and model_version <> %s"),
        [company_id, but_of],
    )


def clear_moves(conn: psycopg.Connection[Any], company_id: int, as_of_date: date) -> None:
    """Delete the company's moves of one date, before they are written anew."""
    conn.execute(
        relations.compose("delete from {score_moves} where company_id = %s and as_of_date = %s"),
        [company_id, as_of_date],
    )


def save_moves(conn: psycopg.Connection[Any], moves: pa.Table) -> None:
    """Write moves, columns of MOVES."""
    with conn.cursor() as cursor:
        copy_arrow(cursor, moves.select(MOVES.names).cast(MOVES), relations.SCORE_MOVES)
