"""An entity whose records are the rows of a query over a company's files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from foundation.counting import counted
from pipeline.connectors.contract import Chunk, Entity, FieldKind
from pipeline.connectors.errors import MappingError
from pipeline.connectors.file_reading.declaring import (
    Setting,
    UndeclaredColumns,
    columns_of,
    lines_to_add,
    refuse_undeclared,
)
from pipeline.connectors.file_reading.opening import FileReader
from pipeline.connectors.file_reading.overlaps import FileChunk, settle_overlaps
from pipeline.connectors.file_reading.parts import ROWS_AT_ONCE, Part
from pipeline.connectors.file_reading.places import Folder
from pipeline.connectors.file_reading.queries import QueryFailed, run_query
from pipeline.connectors.file_reading.settings import FileMapping, FileSet
from pipeline.connectors.file_reading.streams import UnreadableFile
from pipeline.connectors.file_reading.tables import declared_kinds, table_of, without_overlaps
from pipeline.connectors.file_reading.undeclared import UndeclaredNotations
from pipeline.connectors.validation import Reading, validate_table


class QueriedFiles:
    """The tables of a company's settings, each read once, when a query first speaks of it."""

    def __init__(self, company: str, folder: Folder, tables: Mapping[str, FileSet], reading: Reading) -> None:
        """`company` is the slug, for messages; `reading` has the zone of times without an offset."""
        self._company = company
        self._folder = folder
        self._file_sets = tables
        self._reading = reading
        self._tables: dict[str, pa.Table] = {}
        self._remarks: dict[str, list[str]] = {}
        self._understood: dict[str, str] = {}

    def close(self) -> None:
        """Let go of the tables."""
        self._tables.clear()

    def chunks(self, entity: Entity, mapping: FileMapping, query: str, reading: Reading) -> list[Chunk]:
        """The query's rows, judged as the entity's records. Raises ConnectorError."""
        place = f"connector_settings.files.{entity.name}.query"
        spoken_of = [name for name in self._file_sets if _speaks_of(name, query)]
        for name in spoken_of:
            if name not in self._tables:
                self._tables[name] = self._load(name, self._file_sets[name])
        tables = {name: self._tables[name] for name in spoken_of}
        try:
            rows = run_query(query, tables, reading.time_zone.key)
        except QueryFailed as error:
            there = "; ".join(f"{name} ({', '.join(table.column_names)})" for name, table in tables.items())
            raise MappingError(
                self._company,
                self._folder.source(),
                f"{place} fails: {error}.",
                f"It must be one SELECT over connector_settings.tables: {there or 'none'}. Text of files is text until "
                "a table's `types` say more.",
            ) from None
        source = f"{self._folder.source()}, {place}"
        attributes = reading.kinds_of_attributes(entity)
        mapping.check(entity, rows.column_names, self._company, source, "files", attributes=attributes)
        columns = columns_of(entity, reading)
        undeclared = UndeclaredNotations(columns.kinds)
        undeclared.see(Part(place, rows))
        setting = Setting(self._company, source, place.removesuffix(".query"))
        refuse_undeclared(columns, undeclared.columns(), setting)
        remarks = tuple(remark for name in spoken_of for remark in self._remarks[name])
        pieces = [rows.slice(start, ROWS_AT_ONCE) for start in range(0, max(rows.num_rows, 1), ROWS_AT_ONCE)]
        stamped = mapping.stamped_by(reading, rows.column_names)
        parts = [FileChunk(place, validate_table(entity, piece, stamped)) for piece in pieces]
        chunks = settle_overlaps(entity, parts)
        understood = tuple(self._understood[name] for name in spoken_of)
        chunks[0] = replace(chunks[0], understood=understood, remarks=(*remarks, *chunks[0].remarks))
        return chunks

    def _load(self, name: str, files: FileSet) -> pa.Table:
        place = f"connector_settings.tables.{name}"
        columns = UndeclaredColumns(
            {
                column: kind
                for column, kind in declared_kinds(files).items()
                if (files.date_format if kind is FieldKind.timestamp else files.decimal) is None
            }
        )
        reader = FileReader(self._company, self._folder, files.path, files, place, columns)
        undeclared = UndeclaredNotations(columns.kinds)
        tables: list[tuple[str, pa.Table]] = []
        try:
            for part in reader.parts():
                undeclared.see(part)
                if not undeclared.columns():
                    tables.append((part.file, table_of(part, files, self._reading.time_zone)))
            refuse_undeclared(columns, undeclared.columns(), reader)
            if not any(table.num_columns for _, table in tables):
                raise UnreadableFile("the files hold no rows, so that the query has no columns")
            unknown = files.types.keys() - {column for _, table in tables for column in table.column_names}
            if unknown:
                raise UnreadableFile(f"types names {', '.join(sorted(unknown))}, but there is no such column")
            table, told = without_overlaps(name, tables, files)
        except UnreadableFile as error:
            remedy = lines_to_add(place, [error.setting]) if error.setting else f"Mend the files or {place}."
            raise MappingError(self._company, reader.source, f"{error.problem}.", remedy) from None
        self._understood[name] = f"{name}: {counted(table.num_rows, 'line')}."
        self._remarks[name] = [f"{name}: {remark}" for remark in told]
        return table


def _speaks_of(name: str, query: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", query, re.IGNORECASE) is not None
