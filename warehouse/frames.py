"""Tables in bulk between Postgres and Arrow: reading through ADBC, writing through binary COPY.

What is read or written, and why, does not belong here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from warehouse.connection import Warehouse
from warehouse.relations import Relation
from warehouse.roles import Role

T = TypeVar("T")

COPY_ROWS = 20_000
_JSONB_VERSION = "\x01"


def read_arrow(warehouse: Warehouse, query: sql.Composed, role: Role | None = None) -> pa.Table:
    """The result of a query as an Arrow table; numerics come as text. Values stand in the query, as literals.

    With parameters beside the query the driver could not COPY, which is quicker, and would hold the result twice.
    Raises WarehouseUnreachable, or adbc_driver_manager.Error for a query that fails.
    """
    with warehouse.adbc(role) as connection, connection.cursor() as cursor:
        cursor.execute(query.as_string())
        return cursor.fetch_arrow_table()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made by another thread while the one before it is worked on."""
    end = object()
    with ThreadPoolExecutor(max_workers=1) as worker:
        coming = worker.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = worker.submit(next, items, end)
            yield item  # type: ignore[misc]


def arrow_chunks(warehouse: Warehouse, query: sql.Composed, role: Role | None, rows: int) -> Iterator[pa.Table]:
    """As ``read_arrow``, in tables of ``rows`` rows each, the last of what is left; only one is in memory at a time."""
    with warehouse.adbc(role) as connection, connection.cursor() as cursor:
        cursor.execute(query.as_string())
        reader = cursor.fetch_record_batch()
        held = reader.schema.empty_table()
        for batch in reader:
            held = pa.concat_tables([held, pa.Table.from_batches([batch])])
            while held.num_rows >= rows:
                yield held.slice(0, rows)
                held = held.slice(rows)
        if held.num_rows:
            yield held


@dataclass(frozen=True)
class Encoded:
    """Rows as binary COPY takes them."""

    columns: list[str]
    rows: int
    blocks: list[bytes]


def encode_rows(table: pa.Table, json_columns: Collection[str] = ()) -> Encoded:
    """What ``copy_arrow`` sends of a table, made beforehand: by another thread, while other rows are on their way."""
    return Encoded(table.column_names, table.num_rows, list(_binary_blocks(_json_marked(table, json_columns))))


def copy_encoded(cursor: psycopg.Cursor[Any], rows: Encoded, relation: Relation | str) -> int:
    """As ``copy_arrow``, of rows that are encoded."""
    return _copy(cursor, relation, rows.columns, rows.blocks, rows.rows)


def copy_arrow(
    cursor: psycopg.Cursor[Any],
    table: pa.Table,
    relation: Relation | str,
    json_columns: Collection[str] = (),
) -> int:
    """Copy an Arrow table into columns of the same names; returns the number of rows.

    `relation` is a Relation, or the name of a temporary table. Binary COPY converts nothing: int32
    needs integer, int64 bigint, float64 double precision, string text, date32 date, timestamps
    timestamptz (or timestamp), decimal128 numeric. Strings of `json_columns` are JSON and go to jsonb.
    Runs in the cursor's transaction; raises psycopg.Error where Postgres refuses a row.
    """
    blocks = _binary_blocks(_json_marked(table, json_columns))
    return _copy(cursor, relation, table.column_names, blocks, table.num_rows)


def _copy(
    cursor: psycopg.Cursor[Any], relation: Relation | str, columns: Sequence[str], blocks: Iterable[bytes], rows: int
) -> int:
    if rows == 0:
        return 0
    target = relation.identifier if isinstance(relation, Relation) else sql.Identifier(relation)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    with cursor.copy(sql.SQL("copy {} ({}) from stdin (format binary)").format(target, names)) as copy:
        for block in blocks:
            copy.write(block)
    return rows


def _json_marked(table: pa.Table, json_columns: Collection[str]) -> pa.Table:
    for name in json_columns:
        position = table.schema.get_field_index(name)
        version = pa.scalar(_JSONB_VERSION, table.schema.field(position).type)
        marked = pc.binary_join_element_wise(version, table[name], "")
        table = table.set_column(position, table.schema.field(position), marked)
    return table


def _binary_blocks(table: pa.Table) -> Iterator[bytes]:
    from pgpq import ArrowToPostgresBinaryEncoder

    encoder = ArrowToPostgresBinaryEncoder(table.schema)
    yield encoder.write_header()
    for batch in table.combine_chunks().to_batches(max_chunksize=COPY_ROWS):
        yield encoder.write_batch(batch)
    yield encoder.finish()
