"""What is kept of scores beside what is published: the parts of each entity's newest one, and why it moved.

Which parts may be used again, and how a move is split, does not belong here.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql

from foundation.model_version import ModelVersion
from warehouse import relations
from warehouse.connection import Warehouse
from warehouse.frames import copy_arrow, read_arrow
from warehouse.publication.contract import Contract
from warehouse.roles import Role

EXPLAINED = pa.schema(
    [
        ("company_id", pa.int32()),
        ("task", pa.string()),
        ("entity_id", pa.string()),
        ("model_version", pa.string()),
        ("signature", pa.int64()),
        ("parts", pa.binary()),
    ]
)
MOVES = pa.schema(
    [
        ("company_id", pa.int32()),
        ("task", pa.string()),
        ("entity_id", pa.string()),
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


def published_probabilities(warehouse: Warehouse, contract: Contract, company_id: int, as_of_date: date) -> pa.Table:
    """entity_id and probability of one published set, by entity_id."""
    return read_arrow(
        warehouse,
        contract.compose(
            "select {entity_id} as entity_id, {probability} as probability from {scores_v1}"
            " where company_id = {company} and as_of_date = {date} order by {entity_id}",
            company=sql.Literal(company_id),
            date=sql.Literal(as_of_date),
        ),
        role=Role.ml,
    )


def explained_parts(
    warehouse: Warehouse, company_id: int, task: str, version: ModelVersion, first: str, last: str
) -> pa.Table:
    """entity_id, signature and parts that a model gave the entities from ``first`` to ``last``."""
    return read_arrow(
        warehouse,
        sql.SQL(
            "select entity_id, signature, parts from ml.explained_parts"
            " where company_id = {} and task = {} and model_version = {} and entity_id between {} and {}"
            " order by entity_id"
        ).format(company_id, task, str(version), first, last),
        role=Role.ml,
    )


def save_explained_parts(conn: psycopg.Connection[Any], company_id: int, task: str, explained: pa.Table) -> None:
    """Keep parts (columns of EXPLAINED, one company's and task's) in place of what the same entities had."""
    with conn.cursor() as cursor:
        cursor.execute(
            relations.compose(
                "delete from {explained_parts} where company_id = %s and task = %s and entity_id = any(%s)"
            ),
            [company_id, task, explained["entity_id"].to_pylist()],
        )
        copy_arrow(cursor, explained.select(EXPLAINED.names).cast(EXPLAINED), relations.EXPLAINED_PARTS)


def forget_explained_parts(conn: psycopg.Connection[Any], company_id: int, task: str, but_of: ModelVersion) -> None:
    """Delete the parts that models other than ``but_of`` gave the company's entities."""
    conn.execute(
        relations.compose("delete from {explained_parts} where company_id = %s and task = %s and model_version <> %s"),
        [company_id, task, str(but_of)],
    )


def clear_moves(conn: psycopg.Connection[Any], company_id: int, task: str, as_of_date: date) -> None:
    """Delete the company's moves of one task and date, before they are written again."""
    conn.execute(
        relations.compose("delete from {score_moves} where company_id = %s and task = %s and as_of_date = %s"),
        [company_id, task, as_of_date],
    )


def save_moves(conn: psycopg.Connection[Any], moves: pa.Table) -> None:
    """Write moves, columns of MOVES."""
    with conn.cursor() as cursor:
        copy_arrow(cursor, moves.select(MOVES.names).cast(MOVES), relations.SCORE_MOVES)
