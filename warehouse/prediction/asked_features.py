"""What is looked up of one entity's features before it is scored alone. As `churn_ml`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, LiteralString

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.rows import dict_row

from warehouse.companies.definition import CustomAttribute
from warehouse.prediction.bounds import within_bounds
from warehouse.prediction.feature_store import matrix_query
from warehouse.prediction.task_relations import TaskRelations

_NEWEST: LiteralString = """
    select {columns} from {matrix} as matrix
    where matrix.company_id = {company} and matrix.{entity} = {id}
    order by matrix.as_of_date desc limit 1
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


def newest_row(
    conn: psycopg.Connection[Any],
    task: TaskRelations,
    company_id: int,
    entity_id: str,
    features: Sequence[str],
    attributes: Sequence[CustomAttribute] = (),
) -> pa.Table:
    """An entity's newest row of features, as `feature_store.rows_at` gives those of a date; no row where it has none.

    On a session that is there already: to open one for Arrow takes longer than to score the row.
    """
    query = matrix_query(_NEWEST, task, task.matrix, features, attributes, company=company_id, id=entity_id)
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query).fetchall()
    return within_bounds(pa.Table.from_pylist(rows))


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
