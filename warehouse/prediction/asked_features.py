"""What is looked up of one entity's features before it is scored alone. As `churn_ml`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from warehouse.companies.definition import CustomAttribute
from warehouse.prediction.feature_store import matrix_query
from warehouse.prediction.task_relations import TaskRelations

_NEWEST: LiteralString = """
    select max(matrix.as_of_date) from {matrix} as matrix where matrix.company_id = %s and matrix.{entity} = %s
"""
_HAS_VALUE: LiteralString = """
    select exists (
        select from (
            select {columns} from {matrix} as matrix
            where matrix.company_id = {company} and matrix.as_of_date = {date}
        ) as asked
        where {feature} = {value}
    )
"""


def newest_date_of(conn: psycopg.Connection[Any], task: TaskRelations, company_id: int, entity_id: str) -> date | None:
    """The newest date for which an entity has features; None where there is none."""
    query = sql.SQL(_NEWEST).format(matrix=task.matrix.identifier, entity=sql.Identifier(task.contract.entity_id))
    (day,) = conn.execute(query, [company_id, entity_id]).fetchone() or (None,)
    return None if day is None else day


def has_value(
    conn: psycopg.Connection[Any],
    task: TaskRelations,
    company_id: int,
    as_of_date: date,
    feature: str,
    value: str,
    attributes: Sequence[CustomAttribute] = (),
) -> bool:
    """Whether any of the company's own entities has this category at that date. ``attributes`` are those of its own
    that are asked about: the one that the feature is, or none.
    """
    query = matrix_query(
        *(_HAS_VALUE, task, task.matrix, () if attributes else (feature,), attributes),
        company=company_id,
        date=as_of_date,
        feature=sql.Identifier(feature),
        value=value,
    )
    (is_there,) = conn.execute(query).fetchone() or (False,)
    return bool(is_there)
