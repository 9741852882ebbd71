"""Reading the feature matrix: labelled rows to learn from, and one date's rows to score."""

from collections.abc import Sequence
from datetime import date
from typing import Any, LiteralString

import psycopg
import pyarrow as pa
from psycopg import sql

from warehouse import relations
from warehouse.connection import Warehouse
from warehouse.errors import WarehouseError
from warehouse.frames import read_arrow
from warehouse.roles import Role

_KEY = ("company_id", "customer_id", "as_of_date")


class FeaturesNotBuilt(WarehouseError):
    """The feature matrix lacks what was asked for."""


def built_columns(conn: psycopg.Connection[Any]) -> list[str]:
    """The matrix's columns as they stand in the warehouse.

    Raises FeaturesNotBuilt before the first dbt build.
    """
    rows = conn.execute(
        "select column_name from information_schema.columns where table_schema = %s and table_name = %s"
        " order by ordinal_position",
        [relations.CHURN_FEATURE_MATRIX.schema, relations.CHURN_FEATURE_MATRIX.name],
    ).fetchall()
    if not rows:
        raise FeaturesNotBuilt(
            f"{relations.CHURN_FEATURE_MATRIX} does not exist yet: run `churn run`, or `dbt build` in dbt_project."
        )
    return [name for (name,) in rows]


def labelled_rows(warehouse: Warehouse, company_ids: Sequence[int], features: Sequence[str]) -> pa.Table:
    """Rows whose label is mature: is_churned, company_id, customer_id, as_of_date, then ``features``.

    Only dates of the monthly grid count: a daily scoring date would weigh recent days more than others.
    Rows are ordered by company, date and customer, so that a training can be repeated.
    """
    return _read(
        warehouse,
        """
        select label.is_churned, {columns}
        from {matrix} as matrix
        inner join {labels} as label
            on label.company_id = matrix.company_id
            and label.customer_id = matrix.customer_id
            and label.as_of_date = matrix.as_of_date
        where matrix.company_id = any($1) and label.is_mature and label.is_churned is not null
            and extract(day from matrix.as_of_date) = 1
        order by matrix.company_id, matrix.as_of_date, matrix.customer_id
        """,
        features,
        [list(company_ids)],
    )


def rows_at(warehouse: Warehouse, company_id: int, as_of_date: date, features: Sequence[str]) -> pa.Table:
    """The active customers of one company at one date: company_id, customer_id, as_of_date, then ``features``.

    Raises FeaturesNotBuilt when the matrix has no row for that date.
    """
    rows = _read(
        warehouse,
        """
        select {columns}
        from {matrix} as matrix
        where matrix.company_id = $1 and matrix.as_of_date = $2
        order by matrix.customer_id
        """,
        features,
        [company_id, as_of_date],
    )
    if rows.num_rows == 0:
        raise FeaturesNotBuilt(
            f"Company {company_id} has no feature rows for {as_of_date}: its first load is not complete, its "
            "features were not built for that date (`churn run`), or it has no active customer."
        )
    return rows


def _read(warehouse: Warehouse, query: LiteralString, features: Sequence[str], parameters: list[object]) -> pa.Table:
    composed = sql.SQL(query).format(
        columns=sql.SQL(", ").join(sql.Identifier("matrix", name) for name in [*_KEY, *features]),
        matrix=relations.CHURN_FEATURE_MATRIX.identifier,
        labels=relations.CHURN_LABELS.identifier,
    )
    return read_arrow(warehouse, composed.as_string(), parameters, role=Role.ml)
