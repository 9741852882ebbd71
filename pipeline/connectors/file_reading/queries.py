"""One SELECT over Arrow tables, by DuckDB: strict about casts, without files, network, extensions or much memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from foundation.errors import ChurnError
from pipeline.connectors.file_reading.silent_casts import text_read_as_number

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


class QueryFailed(ChurnError):
    """The query is no single SELECT, or DuckDB refuses it; the text says why."""


def run_query(query: str, tables: Mapping[str, pa.Table], time_zone: str) -> pa.Table:
    """The query's rows. Its moments are told in `time_zone`. Raises QueryFailed."""
    statement = _only_select(query)
    _refuse_text_as_number(statement.query, tables)
    with _engine(time_zone, tables) as connection:
        rows = connection.sql(statement.query).to_arrow_table()
    repeated = sorted({name for name in rows.column_names if rows.column_names.count(name) > 1})
    if repeated:
        raise QueryFailed(f"it gives two columns the name {', '.join(repeated)}")
    return rows


@contextmanager
def _engine(
    time_zone: str, tables: Mapping[str, pa.Table], *, only_columns: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """An engine that reaches these tables and nothing else; with `only_columns` they are empty tables of its own."""
    connection = duckdb.connect(":memory:", config=_LOCKED_DOWN)
    patience = threading.Timer(LONGEST_QUERY_SECONDS, connection.interrupt)
    try:
        for name, table in tables.items():
            if only_columns:
                connection.register("given", table.slice(0, 0))
                connection.execute(f"create table {_quoted(name)} as from given")
                connection.unregister("given")
            else:
                connection.register(name, table)
        # Sets of literals of ours; the zone's name was looked up before.
        connection.execute(f"set timezone = '{time_zone}'")
        connection.execute("set python_enable_replacements = false")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
        patience.start()
        yield connection
    except duckdb.Error as error:
        raise QueryFailed(_said(error)) from None
    finally:
        patience.cancel()
        connection.close()


def _only_select(query: str) -> Any:
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise QueryFailed(_said(error)) from None
    if len(statements) != 1:
        raise QueryFailed(f"it holds {len(statements)} statements, and must be one statement")
    if statements[0].type != duckdb.StatementType.SELECT:
        raise QueryFailed("it is no SELECT: a query only reads")
    return statements[0]


def _refuse_text_as_number(query: str, tables: Mapping[str, pa.Table]) -> None:
    """Where text is compared with a number, DuckDB casts it unasked: id 007 would be id 7."""
    with _engine("UTC", tables, only_columns=True) as connection:
        compared = text_read_as_number(connection, query)
    if compared:
        raise QueryFailed(
            f"it compares {compared[0]}, which is text, with a number, so that 007 would equal 7: write the number in "
            "quotes, cast it to varchar, or declare the column in types"
        )


def _said(error: duckdb.Error) -> str:
    return " ".join(str(error).split("\n\n")[0].split())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
