"""Files as a source: CSV, Parquet and JSON lines, found and opened by dlt's filesystem.

An entity is either the rows of files of its shape, with columns mapped, or the rows of a
SQL query over files of any shape (SQLite in memory): invoice lines become payments by
`group by`, and several files become one entity by `join`.
"""

from __future__ import annotations

import glob
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

import dlt.extract.exceptions
import orjson
import pandas as pd
import pyarrow as pa
from dlt.sources import DltResource
from dlt.sources.filesystem import filesystem, read_csv, read_parquet
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.connectors.contract import Chunk, Entity, Totals
from pipeline.connectors.errors import MappingError, SourceNotFound, UnexpectedResponse
from pipeline.connectors.json_text import shown
from pipeline.connectors.mapping import ColumnMapping, in_order
from pipeline.connectors.registry import Access, Connector
from pipeline.connectors.validation import Reading, validate_records, validate_table

ROWS_AT_ONCE = 50_000
Format = Literal["csv", "parquet", "jsonl"]
FORMATS: dict[str, Format] = {".csv": "csv", ".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}

_ALL_COLUMNS = re.compile(r"(\bselect|,|\.)\s*\*", re.IGNORECASE)
_PLAIN_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?", re.ASCII)


class FileSet(BaseModel):
    """Files of one shape."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)

    path: str = Field(description="A file, or a pattern such as payments/*.parquet; relative to `directory`.")
    format: Format | None = Field(default=None, description="csv, parquet or jsonl; else by the file's ending.")
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="Of CSV.")
    encoding: str = Field(default="utf-8-sig", description="Of CSV.")


class FileMapping(ColumnMapping):
    """One entity: `path` and what belongs to it, or `query` over the tables of the settings."""

    path: str | None = None
    format: Format | None = None
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    encoding: str = "utf-8-sig"
    query: str | None = Field(default=None, description="A SELECT (SQLite) over connector_settings.tables.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.path is None) == (self.query is None):
            raise ValueError("needs either path or query")
        return self

    def file_set(self) -> FileSet:
        """The files of a mapping that has a path."""
        return FileSet(path=self.path or "", format=self.format, delimiter=self.delimiter, encoding=self.encoding)


class FileSettings(BaseModel):
    """Connector settings of a company whose data lies in files."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    directory: str = Field(default=".", description="Where the files lie; relative to CHURN_HOME.")
    tables: dict[str, FileSet] = Field(default_factory=dict, description="Files that queries read, by table name.")
    files: dict[str, FileMapping] = Field(description="By entity: customers, tickets, payments, events.")


class Files:
    """Reads one company's records from files; whole files each time, for files have no index of time."""

    def __init__(self, company: str, settings: FileSettings, home: Path, reading: Reading) -> None:
        """`company` is the slug, for messages; `home` is what a relative `directory` starts from."""
        self._company = company
        self._settings = settings
        self._directory = (home / Path(settings.directory).expanduser()).resolve()
        self._reading = reading
        self._counts: dict[str, Totals] = {}
        self._loaded: dict[str, list[str]] = {}
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)

    def close(self) -> None:
        """Let go of the tables in memory."""
        self._database.close()

    def read(
        self,
        entity: Entity,
        updated_since: datetime | None,  # noqa: ARG002
        chunk_rows: int,
    ) -> Iterator[Chunk]:
        """See `Source.read`. All records in any case: a line that comes late has an old updated_at."""
        parts = self._parts(entity)
        self._counts[entity.name] = _count(entity, parts)
        yield from in_order(entity, parts, chunk_rows)

    def totals(self, entity: Entity) -> Totals | None:
        """See `Source.totals`. Counts the ids in the files as last read, acceptable or not."""
        if entity.name not in self._counts:
            self._counts[entity.name] = _count(entity, self._parts(entity))
        return self._counts[entity.name]

    def is_complete(self, entity: Entity) -> bool:
        """See `ListedSource.is_complete`: only where the mapping says so, for files may be put beside others."""
        return bool(self._mapping(entity).complete)

    def reads_whole(self, _: Entity) -> bool:
        """See `ListedSource.reads_whole`."""
        return True

    def _mapping(self, entity: Entity) -> FileMapping:
        mapping = self._settings.files.get(entity.name)
        if mapping is None:
            raise MappingError(
                self._company,
                f"files in {self._directory}",
                f"connector_settings.files says nothing about {entity.name}.",
                "Add it, or leave the entity out of the company's entities.",
            )
        return mapping

    def _parts(self, entity: Entity) -> list[Chunk]:
        mapping = self._mapping(entity)
        if mapping.query is not None:
            return [self._queried(entity, mapping, mapping.query)]
        files = mapping.file_set()
        rows = list(self._rows(files))
        names = {name for part in rows for name in _names(part)}
        if names:
            mapping.check(entity, names, self._company, self._place(files), "files")
        reading = mapping.applied_to(self._reading, names)
        return [
            validate_table(entity, part, reading)
            if isinstance(part, pa.Table)
            else validate_records(entity, part, reading)
            for part in rows
        ]

    def _queried(self, entity: Entity, mapping: FileMapping, query: str) -> Chunk:
        place = f"connector_settings.files.{entity.name}.query"
        for name, files in self._settings.tables.items():
            if name not in self._loaded and _speaks_of(name, query):
                self._loaded[name] = self._load_table(name, files)
        self._database.set_authorizer(_reads_only)
        try:
            cursor = self._database.execute(query)
            names = [column[0] for column in cursor.description or ()]
            records = [dict(zip(names, row, strict=True)) for row in cursor]
        except (sqlite3.Error, sqlite3.Warning) as error:
            there = "; ".join(f"{name} ({', '.join(columns)})" for name, columns in self._loaded.items())
            raise MappingError(
                self._company,
                f"files in {self._directory}",
                f"{place} fails: {error}.",
                f"It must be one SELECT over connector_settings.tables: {there or 'none'}.",
            ) from None
        finally:
            self._database.set_authorizer(None)
        mapping.check(entity, names, self._company, f"files in {self._directory}, {place}", "files")
        return validate_records(entity, records, mapping.applied_to(self._reading, names))

    def _load_table(self, name: str, files: FileSet) -> list[str]:
        """Load what the queries speak of into SQLite; returns all columns that the files have."""
        queries = " ".join(mapping.query or "" for mapping in self._settings.files.values())
        parts = [rows for rows in self._rows(files) if self._are_records(rows, files)]
        if not parts:
            self._not_found(self._place(files), "the files hold no rows, so that the query has no columns.")
        present = list(dict.fromkeys(column for rows in parts for column in _names(rows)))
        wanted = [column for column in present if _ALL_COLUMNS.search(queries) or _speaks_of(column, queries)]
        columns = wanted or present[:1]
        kinds = {
            column: "numeric" if all(_is_numeric(rows, column) for rows in parts) else "blob" for column in columns
        }
        declared = ", ".join(f"{_quoted(column)} {kinds[column]}" for column in columns)
        self._database.execute(f"create table {_quoted(name)} ({declared})")
        insert = f"insert into {_quoted(name)} values ({', '.join('?' * len(columns))})"  # noqa: S608 no user text
        for rows in parts:
            self._database.executemany(insert, zip(*(_sqlite_values(rows, column) for column in columns), strict=True))
        return present

    def _are_records(self, rows: pa.Table | list[Any], files: FileSet) -> bool:
        """Raises where a line is no record: a query would pass over it in silence."""
        if not isinstance(rows, pa.Table):
            stray = next((row for row in rows if not isinstance(row, dict)), None)
            if stray is not None:
                raise UnexpectedResponse(
                    self._company, self._place(files), f"a line is no record: {shown(stray)}.", "Mend the file."
                )
        return len(rows) > 0

    def _rows(self, files: FileSet) -> Iterator[pa.Table | list[Any]]:
        """Everything in the files, in pieces: Arrow tables, or lists of objects and of lines that are none."""
        folder, pattern = _split_pattern(self._directory / files.path)
        if not folder.is_dir():
            self._not_found(self._place(files), f"there is no folder {folder}.")
        matches = sorted(filesystem(bucket_url=folder.as_uri(), file_glob=pattern), key=lambda item: item["file_url"])
        if not matches:
            there = sorted(path.name for path in folder.iterdir())[:20]
            self._not_found(self._place(files), f"no file matches {pattern}. There are: {', '.join(there) or 'none'}.")
        for item in matches:
            file_format = self._format(str(item["file_name"]), files)
            only_this = filesystem(bucket_url=folder.as_uri(), file_glob=glob.escape(item["relative_path"]))
            try:
                yield from _READERS[file_format](only_this, files)
            except (pa.ArrowException, pd.errors.ParserError, UnicodeError, LookupError, OSError) as error:
                raise self._unreadable(str(item["file_name"]), file_format, files, error) from None
            except dlt.extract.exceptions.ResourceExtractionError as error:
                cause = error.__cause__ or error
                raise self._unreadable(str(item["file_name"]), file_format, files, cause) from None

    def _format(self, name: str, files: FileSet) -> Format:
        ending = Path(name).suffix.lower()
        file_format = files.format or FORMATS.get(ending)
        if file_format is None:
            raise MappingError(
                self._company,
                self._place(files),
                f"the ending of {name} tells no format.",
                "Add format: csv, parquet or jsonl.",
            )
        return file_format

    def _place(self, files: FileSet) -> str:
        return f"files {self._directory / files.path}"

    def _unreadable(self, name: str, file_format: Format, files: FileSet, error: BaseException) -> UnexpectedResponse:
        return UnexpectedResponse(
            self._company,
            self._place(files),
            f"{name} cannot be read as {file_format} ({' '.join(str(error).split())[:200]}).",
            "Set its format, delimiter or encoding, or mend the file.",
        )

    def _not_found(self, source: str, problem: str) -> NoReturn:
        raise SourceNotFound(
            self._company, source, problem, "Mend connector_settings.directory or the path, or put the file there."
        )


def _read_parquet(items: DltResource, _: FileSet) -> Iterator[pa.Table]:
    for batch in items | read_parquet(chunksize=ROWS_AT_ONCE, use_pyarrow=True):
        yield pa.Table.from_batches([batch])


def _read_csv(items: DltResource, files: FileSet) -> Iterator[list[Any]]:
    """Rows as text, field by field; empty fields are missing. A line with too many fields comes as itself."""
    options = {"dtype": str, "keep_default_na": False, "sep": files.delimiter, "encoding": files.encoding}
    strays: list[str] = []

    def keep(line: list[str]) -> None:
        strays.append(files.delimiter.join(line))

    try:
        rows = list(items | read_csv(chunksize=ROWS_AT_ONCE, **options))
    except dlt.extract.exceptions.ResourceExtractionError as error:
        if not isinstance(error.__cause__, pd.errors.ParserError):
            raise
        # The quick parser stops at a ragged line; the slow one hands it over and goes on.
        rows = list(items | read_csv(chunksize=ROWS_AT_ONCE, engine="python", on_bad_lines=keep, **options))
    for row in rows:
        for name, value in row.items():
            if not isinstance(value, str) or not value:
                row[name] = None
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[start : start + ROWS_AT_ONCE]
    if strays:
        yield strays


def _read_jsonl(items: DltResource, _: FileSet) -> Iterator[list[Any]]:
    """Objects line by line; a line that is no JSON comes as its text. (dlt's own reader stops there.)"""
    lines: list[Any] = []
    for item in items:
        with item.open() as file:
            for line in file:
                if line.strip():
                    lines.append(_parsed(line))
                if len(lines) >= ROWS_AT_ONCE:
                    yield lines
                    lines = []
    if lines:
        yield lines


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return line.decode(errors="backslashreplace").rstrip("\r\n")


_READERS: dict[Format, Callable[[DltResource, FileSet], Iterator[pa.Table | list[Any]]]] = {
    "parquet": _read_parquet,
    "csv": _read_csv,
    "jsonl": _read_jsonl,
}


def _names(rows: pa.Table | list[Any]) -> list[str]:
    if isinstance(rows, pa.Table):
        return list(rows.column_names)
    return list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row))


def _split_pattern(path: Path) -> tuple[Path, str]:
    """The longest folder without wildcards, and the rest as a pattern."""
    parts = path.parts
    magic = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:magic]), "/".join(parts[magic:])


def _count(entity: Entity, parts: Sequence[Chunk]) -> Totals:
    accepted = pa.concat_tables([part.accepted for part in parts]) if parts else entity.schema.empty_table()
    in_time = accepted.sort_by([("updated_at", "ascending")])
    newest = dict(zip(in_time[entity.key].to_pylist(), in_time["is_deleted"].to_pylist(), strict=True))
    lost = {record.record_id or record.payload_hash for part in parts for record in part.rejected}
    deleted = sum(newest.values())
    return Totals(live=len(newest) - deleted + len(lost - newest.keys()), deleted=deleted)


def _speaks_of(name: str, query: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", query, re.IGNORECASE) is not None


def _sqlite_values(rows: pa.Table | list[Any], column: str) -> list[Any]:
    """A column as SQLite takes it: times as ISO text, which its date functions read; nested values as JSON."""
    if not isinstance(rows, pa.Table):
        return [_sqlite_value(row.get(column)) for row in rows]
    if column not in rows.column_names:
        return [None] * rows.num_rows
    values = rows[column]
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.string())
    elif pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    elif pa.types.is_nested(values.type) or pa.types.is_uint64(values.type):
        return [_sqlite_value(value) for value in values.to_pylist()]
    return values.to_pylist()  # type: ignore[no-any-return]


def _sqlite_value(value: object) -> object:
    if isinstance(value, dict | list):
        return orjson.dumps(value, default=str).decode()
    if isinstance(value, int) and abs(value) >= 2**63:
        return str(value)
    return None if value == "" else value


def _is_numeric(rows: pa.Table | list[Any], column: str) -> bool:
    """Whether text may count as numbers; an id such as 00123 must keep its zeros."""
    if isinstance(rows, pa.Table):
        return False  # Typed already; SQLite keeps what it is given.
    values = (row.get(column) for row in rows)
    return all(not isinstance(value, str) or not value or _PLAIN_NUMBER.fullmatch(value) for value in values)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}


def _reads_only(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY


def _open(settings: FileSettings, access: Access) -> Files:
    return Files(access.company, settings, access.home, access.reading)


CONNECTOR = Connector(FileSettings, _open, reads_whole=True)
