"""What is published, streamed out as the company itself sees it: CSV, JSON lines or Parquet.

Everything is read in one snapshot, so that content and cursor agree, and in blocks, so that memory stays bounded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Any, BinaryIO

import psycopg
import pyarrow as pa
import pyarrow.parquet as parquet
from psycopg import sql

from warehouse.connection import Warehouse
from warehouse.errors import WarehouseError
from warehouse.publication.contract import Contract, column_types
from warehouse.publication.feed import Cursors
from warehouse.relations import Relation
from warehouse.roles import Role, take_on_company_login

BLOCK_ROWS = 10_000

_ARROW_TYPES = {
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float8": pa.float64(),
    "text": pa.string(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", "UTC"),
}


class Format(StrEnum):
    """How rows are written."""

    csv = "csv"
    """For people, who open it with a spreadsheet: no text of a customer's begins as a formula does."""
    raw_csv = "raw-csv"
    """For programs: texts as they are."""
    jsonl = "jsonl"
    parquet = "parquet"


_LINE_ENDS = {"\r": "\\r", "\n": "\\n", "\t": "\\t"}
_OTHER_CONTROLS = "".join(map(chr, [*range(1, 9), 11, 12, *range(14, 32), *range(127, 160)]))


def _harmless(column: sql.Identifier) -> sql.Composable:
    """A text column in which no cell ends early, and none that a spreadsheet would reckon with lacks an apostrophe."""
    text: sql.Composable = column
    for character, written in _LINE_ENDS.items():
        text = sql.SQL("replace({}, {}, {})").format(text, sql.Literal(character), sql.Literal(written))
    text = sql.SQL("translate({}, {}, {})").format(
        text, sql.Literal(_OTHER_CONTROLS), sql.Literal("?" * len(_OTHER_CONTROLS))
    )
    return sql.SQL("case when {column} ~ {formula} then '{quote}' else '' end || {text} as {column}").format(
        column=column, formula=sql.Literal(_FORMULA), quote=sql.SQL("''"), text=text
    )


_FORMULA = "^[[:space:][:cntrl:]]*[-=+@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]"
"""How a text begins that spreadsheets take for a formula, in the wide forms of East Asia too."""


class CursorNotUsable(WarehouseError):
    """A follower's cursor is behind the feed's retention, or is none of this feed."""


@dataclass(frozen=True)
class Exported:
    """Rows written, and the cursor to go on from (of a snapshot or of changes)."""

    rows: int
    next_cursor: int


@dataclass(frozen=True)
class Estimate:
    """What sending would take: customers to write and to clear, of how many changes, in how many calls."""

    changes: int
    upserts: int
    deletes: int
    calls: int
    next_cursor: int


class CompanyReader:
    """One company's published rows of one task, in one snapshot."""

    def __init__(self, conn: psycopg.Connection[Any], contract: Contract, company_id: int) -> None:
        self._conn = conn
        self._contract = contract
        self._company_id = company_id

    @property
    def cursors(self) -> Cursors:
        """The feed's newest and oldest cursor in this snapshot."""
        row = self._conn.execute(
            sql.SQL("select newest_cursor, oldest_cursor from {}").format(self._contract.cursors.identifier)
        ).fetchone()
        return Cursors(*row) if row else Cursors()

    def write_current(self, output: BinaryIO, format: Format) -> Exported:
        """Every entity's newest score, exactly as it was published last."""
        return self._write(self._contract.current, self._contract.entity_id, output, format)

    def write_snapshot(self, output: BinaryIO, format: Format) -> Exported:
        """What a follower of the feed holds at ``next_cursor``."""
        return self._write(self._contract.snapshot, "change_id", output, format)

    def write_changes(self, since: int, output: BinaryIO, format: Format) -> Exported:
        """The changes after the cursor ``since``, oldest first; 0 is the feed's beginning.

        Raises CursorNotUsable.
        """
        self._check(since)
        return self._write(self._contract.changes, "change_id", output, format, since)

    def estimate(self, since: int | None, batch_size: int) -> Estimate:
        """The calls that a sync of ``batch_size`` entities a call needs: a snapshot's, or those since a cursor.

        Of an entity that changed several times only the newest change counts. Raises CursorNotUsable.
        """
        newest = self.cursors.newest
        if since is None:
            row = self._conn.execute(
                sql.SQL("select count(*), count(*), 0 from {}").format(self._contract.snapshot.identifier)
            ).fetchone()
        else:
            self._check(since)
            row = self._conn.execute(
                sql.SQL("""
                select coalesce(sum(changes), 0)::bigint,
                    count(*) filter (where last_operation = 'upsert'),
                    count(*) filter (where last_operation = 'delete')
                from (
                    select count(*) as changes, (array_agg(operation order by change_id desc))[1] as last_operation
                    from {} where change_id > %s group by {}
                ) as entities
                """).format(self._contract.changes.identifier, sql.Identifier(self._contract.entity_id)),
                [since],
            ).fetchone()
        changes, upserts, deletes = row or (0, 0, 0)
        return Estimate(changes, upserts, deletes, ceil(upserts / batch_size) + ceil(deletes / batch_size), newest)

    def _check(self, since: int) -> None:
        cursors = self.cursors
        if since > cursors.newest:
            raise CursorNotUsable(
                f"Cursor {since} is not of this feed, whose newest is {cursors.newest}: was the warehouse restored or "
                "made again? Take a snapshot (`churn export --snapshot`) and go on from its cursor."
            )
        if 0 < since < cursors.oldest:
            raise CursorNotUsable(
                f"Cursor {since} is behind the feed's retention: changes up to {cursors.oldest} have been compacted. "
                "Take a snapshot (`churn export --snapshot`) and go on from its cursor."
            )

    def _write(
        self, relation: Relation, order: str, output: BinaryIO, format: Format, since: int | None = None
    ) -> Exported:
        cursor = self.cursors.newest
        query = sql.SQL("select {} from {} where company_id = {} {} order by {}").format(
            sql.SQL(", ").join(self._columns(relation, format)),
            relation.identifier,
            self._company_id,
            sql.SQL("") if since is None else sql.SQL("and change_id > {}").format(since),
            sql.Identifier(order),
        )
        write = {Format.jsonl: self._jsonl, Format.parquet: self._parquet}.get(format, self._csv)
        return Exported(write(query, output), cursor)

    def _columns(self, relation: Relation, format: Format) -> Iterator[sql.Composable]:
        for name, type_name in column_types(self._conn, relation).items():
            column = sql.Identifier(name)
            is_json_text = type_name in ("json", "jsonb") and format is Format.parquet
            if is_json_text:
                yield sql.SQL("{}::text as {}").format(column, column)
            elif type_name == "text" and format is Format.csv:
                yield _harmless(column)
            else:
                yield column

    def _csv(self, query: sql.Composed, output: BinaryIO) -> int:
        with self._conn.cursor() as cursor:
            with cursor.copy(sql.SQL("copy ({}) to stdout (format csv, header)").format(query)) as copy:
                for block in copy:
                    output.write(block)
            return cursor.rowcount

    def _jsonl(self, query: sql.Composed, output: BinaryIO) -> int:
        statement = sql.SQL("copy (select row_to_json(exported) from ({}) as exported) to stdout").format(query)
        with self._conn.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for (line,) in copy.rows():
                    output.write(f"{line}\n".encode())
            return cursor.rowcount

    def _parquet(self, query: sql.Composed, output: BinaryIO) -> int:
        rows = 0
        with self._conn.cursor(name="export") as cursor:
            cursor.execute(query)
            described = cursor.description or ()
            schema = pa.schema([(column.name, _ARROW_TYPES[column.type_display]) for column in described])
            with parquet.ParquetWriter(output, schema, compression="zstd") as writer:
                while block := cursor.fetchmany(BLOCK_ROWS):
                    columns = zip(*block, strict=True)
                    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
                    writer.write_batch(pa.record_batch(arrays, schema=schema))
                    rows += len(block)
        return rows


@contextmanager
def reading_as_company(warehouse: Warehouse, contract: Contract, company_id: int) -> Iterator[CompanyReader]:
    """Read what a task publishes as the company's own reverse-ETL login, read-only and in one snapshot."""
    with warehouse.connect(autocommit=True) as conn:
        take_on_company_login(conn, company_id, Role.company_sync)
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        with conn.transaction():
            yield CompanyReader(conn, contract, company_id)
