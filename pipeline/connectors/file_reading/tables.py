"""Files as tables that queries read: text as it stands, but for the columns whose type is declared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pyarrow as pa

from foundation.counting import agreeing, counted
from pipeline.connectors.columns import convert, plain_column
from pipeline.connectors.contract import Field, FieldKind
from pipeline.connectors.errors import Unreadable
from pipeline.connectors.file_reading.parts import Part, is_text
from pipeline.connectors.file_reading.queries import run_query
from pipeline.connectors.file_reading.settings import ColumnType, FileSet
from pipeline.connectors.file_reading.streams import UnreadableFile
from pipeline.connectors.json_text import as_shown, in_quotes
from pipeline.connectors.notation import plain_number

KINDS: dict[ColumnType, FieldKind] = {
    "number": FieldKind.money,
    "integer": FieldKind.integer,
    "boolean": FieldKind.boolean,
    "timestamp": FieldKind.timestamp,
}
_FILE = "_file_number"
_NAMED = 3


def declared_kinds(files: FileSet) -> dict[str, FieldKind]:
    """The kind that each declared column's text is to be read as."""
    return {column: KINDS[kind] for column, kind in files.types.items() if kind in KINDS}


def table_of(part: Part, files: FileSet, time_zone: ZoneInfo) -> pa.Table:
    """A part as an Arrow table with its declared columns read. Raises UnreadableFile for a value that is none."""
    table = part.rows if isinstance(part.rows, pa.Table) else _table_of_objects(part)
    if part.strays:
        raise UnreadableFile(part.strays[0].reason)
    for column, kind in files.types.items():
        if column in table.column_names:
            place = table.schema.get_field_index(column)
            read = _read(column, kind, table[column].combine_chunks(), files, time_zone)
            table = table.set_column(place, column, read)
    return table


def _read(column: str, kind: ColumnType, values: pa.Array, files: FileSet, time_zone: ZoneInfo) -> pa.Array:
    if kind == "text":
        return values.cast(pa.string())
    if kind == "number" and is_text(values.type):
        return _numbers(column, values, files)
    if kind == "number":
        if not _is_number(values.type):
            raise UnreadableFile(f"{column} is declared a number, and holds values of type {values.type}")
        return values
    zone = ZoneInfo(files.time_zone) if files.time_zone else time_zone
    read, problems = convert(Field(column, KINDS[kind]), plain_column(values), zone, files.notation)
    if problems:
        raise UnreadableFile(f"{column} {next(iter(problems.values()))} ({len(problems):,} such values)")
    return read


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind))


def _numbers(column: str, values: pa.Array, files: FileSet) -> pa.Array:
    """As doubles: what a query reckons with may have more decimals than money has."""
    distinct = values.dictionary_encode()
    try:
        numbers = [
            float(plain_number(text, files.notation)) if text.strip() else None
            for text in distinct.dictionary.to_pylist()
        ]
    except Unreadable as error:
        raise UnreadableFile(f"{column} {error}") from None
    return pa.array(numbers, pa.float64()).take(distinct.indices)


def _table_of_objects(part: Part) -> pa.Table:
    stray = next((row for row in part.rows if not isinstance(row, dict)), None)
    if stray is not None:
        raise UnreadableFile(f"a line is no record: {in_quotes(stray)}")
    return pa.table({name: _array([row.get(name) for row in part.rows]) for name in part.names})


def _array(values: list[Any]) -> pa.Array:
    """Values of one type as they are; nested ones as JSON text, and everything as text where types are mixed."""
    column = plain_column(values)
    if not isinstance(column, list):
        return column
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: object) -> str:
    if isinstance(value, dict | list):
        return orjson.dumps(value, default=str).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if is_whole else as_shown(value)  # type: ignore[call-overload]


def together(tables: Sequence[pa.Table]) -> pa.Table:
    """The tables one below the other; a column that has two kinds of values is text."""
    kinds: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for column in table.schema:
            if not pa.types.is_null(column.type):
                kinds.setdefault(column.name, set()).add(column.type)
    mixed = {name for name, types in kinds.items() if len(types) > 1 and any(map(is_text, types))}
    try:
        return pa.concat_tables([_with_texts(table, mixed) for table in tables], promote_options="permissive")
    except pa.ArrowException as error:
        raise UnreadableFile(f"a column has values of kinds that do not go together ({error})") from None


def _with_texts(table: pa.Table, names: set[str]) -> pa.Table:
    for name in names & set(table.column_names):
        values = pa.array([None if value is None else _text(value) for value in table[name].to_pylist()], pa.string())
        table = table.set_column(table.schema.get_field_index(name), name, values)
    return table


def without_overlaps(name: str, tables: Sequence[tuple[str, pa.Table]], files: FileSet) -> tuple[pa.Table, list[str]]:
    """The tables of several files as one, in which no record counts twice; and what a person should know of that.

    tables: with the file's name. Raises UnreadableFile where lines stand in two files and nobody said what that means.
    """
    whole = together([table for _, table in tables])
    names = list(dict.fromkeys(file for file, _ in tables))
    if len(names) < 2 or files.overlaps == "all" or not whole.num_rows:
        return whole, []
    numbers = [names.index(file) for file, table in tables for _ in range(table.num_rows)]
    numbered = whole.append_column(_FILE, pa.array(numbers, pa.int32()))
    line = f"hash({', '.join(map(_quoted, whole.column_names))})"
    if files.record_id is None:
        _refuse_overlap(name, numbered, line, names)
        return whole, []
    if files.record_id not in whole.column_names:
        raise UnreadableFile(f"record_id is {files.record_id}, but there is no such column")
    return _each_record_once(numbered, line, files.record_id, names)


def _refuse_overlap(name: str, numbered: pa.Table, line: str, names: list[str]) -> None:
    shared = run_query(
        f"select coalesce(sum(times), 0)::bigint as lines, min(first) as first, max(last) as last from ("  # noqa: S608
        f"select line, min(file) as first, max(file) as last, sum(times) - max(times) as times from ("
        f"select {line} as line, {_FILE} as file, count(*) as times from numbered group by all)"
        " group by line having count(*) > 1)",
        {"numbered": numbered},
        "UTC",
    ).to_pylist()[0]
    if shared["lines"]:
        raise UnreadableFile(
            f"{shared['lines']:,} of its lines {agreeing(shared['lines'], 'stand')} in another file of {name} too, "
            f"such as {names[shared['first']]} and {names[shared['last']]}; say which column names the record "
            "that a line belongs to (it counts once then), or that such lines all count",
            "record_id: COLUMN  # or overlaps: all",
        )


def _each_record_once(numbered: pa.Table, line: str, record_id: str, names: list[str]) -> tuple[pa.Table, list[str]]:
    column = _quoted(record_id)
    shared = run_query(
        f"select record, min(file) as first, count(distinct (lines, content)) > 1 as differs from ("  # noqa: S608
        f"select {column} as record, {_FILE} as file, count(*) as lines, sum({line}::hugeint) as content"
        f" from numbered where {column} is not null group by all) group by record having count(*) > 1",
        {"numbered": numbered},
        "UTC",
    )
    if not shared.num_rows:
        return numbered.drop_columns([_FILE]), []
    other = shared.filter(shared["differs"])["record"]
    if len(other):
        some = ", ".join(str(value) for value in other.slice(0, _NAMED).to_pylist())
        raise UnreadableFile(
            f"{counted(len(other), 'record')} {agreeing(len(other), 'stand')} in two files with different "
            f"lines, {record_id} {some} among them; take the "
            "older file away, or say that all lines count",
            "overlaps: all",
        )
    first = run_query(
        f"select numbered.* exclude ({_FILE}) from numbered left join shared on numbered.{column} = shared.record"  # noqa: S608
        f" where shared.first is null or shared.first = {_FILE}",
        {"numbered": numbered, "shared": shared},
        "UTC",
    )
    where = ", ".join(names[:_NAMED])
    number = shared.num_rows
    stand, count = agreeing(number, "stand"), agreeing(number, "count")
    return first, [f"{counted(number, 'record')} {stand} in two files with the same lines and {count} once ({where})."]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
