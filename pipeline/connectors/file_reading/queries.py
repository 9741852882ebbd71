"""One SELECT over Arrow tables, by DuckDB: strict about casts, without files, network, extensions or much memory."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import expressions

from foundation.errors import ChurnError
from pipeline.connectors.file_reading.parts import is_text

MEMORY_LIMIT = "2GB"
LONGEST_QUERY_SECONDS = 600

_LOCKED_DOWN: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": MEMORY_LIMIT,
    "temp_directory": "",
    "threads": 2,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}
_NUMERIC = r"(?:TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|U\w+INT|FLOAT|DOUBLE|DECIMAL)"
_CAST = re.compile(rf'CAST\(\s*"?(?:\w+"?\.)?"?(\w+)"?\s+AS\s+{_NUMERIC}', re.IGNORECASE)


class QueryFailed(ChurnError):
    """The query is no single SELECT, or DuckDB refuses it; the text says why."""


def run_query(query: str, tables: Mapping[str, pa.Table], time_zone: str) -> pa.Table:
    """The query's rows. Its moments are told in `time_zone`. Raises QueryFailed."""
    with _engine(tables, time_zone) as connection:
        statement = _only_select(query)
        _refuse_text_as_number(connection, statement.query, tables)
        rows = connection.sql(statement.query).to_arrow_table()
    repeated = sorted({name for name in rows.column_names if rows.column_names.count(name) > 1})
    if repeated:
        raise QueryFailed(f"it gives two columns the name {', '.join(repeated)}")
    return rows


@contextmanager
def _engine(tables: Mapping[str, pa.Table], time_zone: str) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(":memory:", config=_LOCKED_DOWN)
    patience = threading.Timer(LONGEST_QUERY_SECONDS, connection.interrupt)
    try:
        for name, table in tables.items():
            connection.register(name, table)
        # Sets of literals of ours; the zone's name was looked up before.
        connection.execute(f"set timezone = '{time_zone}'")
        connection.execute("set python_enable_replacements = false")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
        patience.start()
        yield connection
    except duckdb.Error as error:
        raise QueryFailed(" ".join(str(error).split("\n\n")[0].split())) from None
    finally:
        patience.cancel()
        connection.close()


def _only_select(query: str) -> Any:
    statements = duckdb.extract_statements(query)
    if len(statements) != 1:
        raise QueryFailed(f"it holds {len(statements)} statements, and must be one statement")
    if statements[0].type != duckdb.StatementType.SELECT:
        raise QueryFailed("it is no SELECT: a query only reads")
    return statements[0]


def _refuse_text_as_number(connection: duckdb.DuckDBPyConnection, query: str, tables: Mapping[str, pa.Table]) -> None:
    """Where text is compared with a number, DuckDB would cast it unasked: id 007 would be id 7."""
    plan = connection.execute(f"explain (format json) {query}").fetchall()
    told = json.dumps([row[-1] for row in plan])
    cast_by_us = _columns_cast_in(query)
    for name in _CAST.findall(told):
        if name in _text_columns(tables) and name.lower() not in cast_by_us:
            raise QueryFailed(
                f"it compares {name}, which is text, with a number, so that 007 would equal 7: write the number in "
                f"quotes, cast it to varchar, or declare {name} in types"
            )


def _text_columns(tables: Mapping[str, pa.Table]) -> set[str]:
    return {field.name for table in tables.values() for field in table.schema if is_text(field.type)}


def _columns_cast_in(query: str) -> set[str]:
    try:
        tree = sqlglot.parse_one(query, dialect="duckdb")
    except sqlglot.errors.SqlglotError:
        return set()
    casts = tree.find_all(expressions.Cast, expressions.TryCast)
    return {column.name.lower() for cast in casts for column in cast.find_all(expressions.Column)}
