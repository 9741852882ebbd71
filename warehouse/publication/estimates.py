"""What `EXPLAIN` may know: it tells every reader what the planner expects, by statistics of all companies' rows.

With a histogram or common values of a column, anybody could ask plans for its values until the answer changes. The same
for dbt's marts is the macro `keep_values_out_of_estimates`.
"""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg import sql

from warehouse.relations import Relation

PLANNED_BY = ("company_id", "as_of_date")
"""The columns of which statistics are kept: which companies have rows, and of which dates."""

_SAMPLED: LiteralString = """
    select attname from pg_attribute
    where attrelid = %s::regclass and attnum > 0 and not attisdropped
        and coalesce(attstattarget, -1) <> 0 and attname <> all (%s)
"""
_CLEARED: LiteralString = "select to_regprocedure('pg_clear_attribute_stats(text, text, text, boolean)') is not null"


def keep_values_out_of_estimates(connection: psycopg.Connection[Any], table: Relation) -> None:
    """Sample no column of a table that companies read, but those the planner needs; forget what was sampled before.

    Postgres before 18 cannot forget: there one value of a column at most, and its ends, are left of an earlier version.
    Needs the owner, in a transaction.
    """
    columns = connection.execute(_SAMPLED, [str(table), [*PLANNED_BY]]).fetchall()
    if not columns:
        return
    can_forget = connection.execute(_CLEARED).fetchone() == (True,)
    if not can_forget:
        _sample(connection, table, columns, 1)
        connection.execute(sql.SQL("analyze {}").format(table.identifier))
    _sample(connection, table, columns, 0)
    for (column,) in columns if can_forget else ():
        connection.execute("select pg_clear_attribute_stats(%s, %s, %s, false)", [table.schema, table.name, column])


def _sample(connection: psycopg.Connection[Any], table: Relation, columns: list[tuple[str]], values: int) -> None:
    alterations = sql.SQL(", ").join(
        sql.SQL("alter column {} set statistics {}").format(sql.Identifier(column), sql.Literal(values))
        for (column,) in columns
    )
    connection.execute(sql.SQL("alter table {} {}").format(table.identifier, alterations))
