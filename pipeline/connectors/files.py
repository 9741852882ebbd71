"""Files as a source: CSV, Excel, Parquet and JSON lines of a company's own folder.

An entity is either the rows of files of its shape, with columns mapped, or the rows of a SQL query over files of any
shape: invoice lines become payments by `group by`, and several files become one entity by `join`. How each format is
read, and what is refused, is that of file_reading/.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.connectors.contract import Chunk, Entity, Totals
from pipeline.connectors.errors import MappingError
from pipeline.connectors.file_reading.declaring import columns_of
from pipeline.connectors.file_reading.mapped import read_mapped
from pipeline.connectors.file_reading.opening import FileReader
from pipeline.connectors.file_reading.places import Folder
from pipeline.connectors.file_reading.queried import QueriedFiles
from pipeline.connectors.file_reading.settings import FileMapping, FileSettings
from pipeline.connectors.mapping import in_order
from pipeline.connectors.registry import Access, Connector
from pipeline.connectors.validation import Reading
from warehouse.settings import Settings

__all__ = ["CONNECTOR", "FileSettings", "Files"]


class Files:
    """Reads one company's records from files; whole files each time, for files have no index of time."""

    def __init__(self, company: str, settings: FileSettings, operators: Settings, reading: Reading) -> None:
        """`company` is the slug; `operators` are our own settings, which say where its files may lie."""
        self._company = company
        self._settings = settings
        self._folder = Folder(company, settings.directory, operators)
        self._reading = settings.zoned(reading)
        self._queried = QueriedFiles(company, self._folder, settings.tables, self._reading)
        self._counts: dict[str, Totals] = {}

    def close(self) -> None:
        """Let go of the tables in memory."""
        self._queried.close()

    def read(
        self,
        entity: Entity,
        updated_since: datetime | None,  # noqa: ARG002
        chunk_rows: int,
    ) -> Iterator[Chunk]:
        """See `Source.read`. All records in any case: a line that comes late has an old updated_at."""
        chunks = self._chunks(entity)
        self._counts[entity.name] = _count(entity, chunks)
        yield from in_order(entity, chunks, chunk_rows)

    def totals(self, entity: Entity) -> Totals | None:
        """See `Source.totals`. Counts the ids in the files as last read, acceptable or not."""
        if entity.name not in self._counts:
            self._counts[entity.name] = _count(entity, self._chunks(entity))
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
                self._folder.source(),
                f"connector_settings.files says nothing about {entity.name}.",
                "Add it, or leave the entity out of the company's entities.",
            )
        return mapping

    def _chunks(self, entity: Entity) -> list[Chunk]:
        mapping = self._mapping(entity)
        reading = mapping.applied_to(self._reading)
        if mapping.query is not None:
            return self._queried.chunks(entity, mapping, mapping.query, reading)
        place = f"connector_settings.files.{entity.name}"
        columns = columns_of(entity, reading)
        files = FileReader(self._company, self._folder, mapping.path or "", mapping, place, columns)
        return read_mapped(entity, mapping, reading, files)


def _count(entity: Entity, chunks: Sequence[Chunk]) -> Totals:
    accepted = pa.concat_tables([part.accepted for part in chunks]) if chunks else entity.schema.empty_table()
    in_time = accepted.select([entity.key, "updated_at", "is_deleted"]).sort_by([("updated_at", "ascending")])
    newest = in_time.group_by([entity.key], use_threads=False).aggregate([("is_deleted", "last")])
    deleted = pc.sum(newest["is_deleted_last"]).as_py() or 0
    lost = {record.record_id or record.payload_hash for part in chunks for record in part.rejected}
    if lost:
        lost -= set(newest[entity.key].to_pylist())
    return Totals(live=newest.num_rows - deleted + len(lost), deleted=deleted)


def _open(settings: FileSettings, access: Access) -> Files:
    return Files(access.company, settings, access.settings, access.reading)


CONNECTOR = Connector(FileSettings, _open, reads_whole=True)
