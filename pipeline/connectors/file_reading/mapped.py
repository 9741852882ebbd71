"""An entity whose records are the rows of files: columns mapped, every line counted, nothing read on a guess."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from foundation.counting import agreeing, counted
from pipeline.connectors.contract import Chunk, Entity
from pipeline.connectors.errors import MappingError, UnexpectedResponse
from pipeline.connectors.file_reading.declaring import lines_to_add, refuse_undeclared
from pipeline.connectors.file_reading.mixed_dates import MixedDates
from pipeline.connectors.file_reading.opening import FileReader
from pipeline.connectors.file_reading.overlaps import FileChunk, settle_overlaps
from pipeline.connectors.file_reading.parts import Part
from pipeline.connectors.file_reading.settings import FileMapping
from pipeline.connectors.file_reading.undeclared import UndeclaredNotations
from pipeline.connectors.json_text import in_quotes
from pipeline.connectors.mapping import TIME_COLUMNS
from pipeline.connectors.validation import Reading, validate_records, validate_table

SPARSE = ""
"""Stands for all files whose records hold only the columns that they fill."""

MOST_REJECTED = 50_000
"""From here on a load ends where more records are rejected than taken: they would only fill the memory."""


def read_mapped(entity: Entity, mapping: FileMapping, reading: Reading, files: FileReader) -> list[Chunk]:
    """The entity's records from its files. Raises ConnectorError."""
    undeclared = UndeclaredNotations(files.columns.kinds)
    mixed = MixedDates(reading.source_name(name) for name in TIME_COLUMNS & set(entity.field_names))
    names: dict[str, dict[str, None]] = {}
    parts: list[FileChunk] = []
    received = rejected = 0
    for part in files.parts():
        names.setdefault(SPARSE if part.is_sparse else part.file, {}).update(dict.fromkeys(part.names))
        undeclared.see(part)
        mixed.see(part)
        parts.append(FileChunk(part.file, _validated(entity, part, mapping.stamped_by(reading, part.names))))
        received += parts[-1].chunk.received
        rejected += len(parts[-1].chunk.rejected)
        if rejected > max(MOST_REJECTED, received / 2):
            break
    for file, columns in names.items():
        _check_names(entity, mapping, reading, file, columns, files)
    refuse_undeclared(files.columns, undeclared.columns(), files)
    if rejected > max(MOST_REJECTED, received / 2):
        raise _too_many(files, parts, rejected, received)
    chunks = settle_overlaps(entity, parts)
    if chunks:
        chunks[0] = replace(
            chunks[0],
            understood=(_understood(files, reading, parts), *_letters(files)),
            remarks=(*_doubts(files), *_unlike(names), *mixed.remarks(), *chunks[0].remarks),
        )
    return chunks


def _validated(entity: Entity, part: Part, reading: Reading) -> Chunk:
    validate = validate_table if isinstance(part.rows, pa.Table) else validate_records
    chunk = validate(entity, part.rows, reading)
    if not part.strays:
        return chunk
    return replace(
        chunk,
        rejected=part.strays + chunk.rejected,
        received=chunk.received + len(part.strays),
        unnamed=chunk.unnamed + len(part.strays),
    )


def _check_names(
    entity: Entity, mapping: FileMapping, reading: Reading, file: str, names: Mapping[str, None], files: FileReader
) -> None:
    if not names:
        return
    source = f"{files.source}, {file}" if file != SPARSE else files.source
    try:
        mapping.check(entity, names, files.company, source, "files", attributes=reading.kinds_of_attributes(entity))
    except MappingError as error:
        looks, settings = files.what_it_looks_like(files.first(), [])
        if not settings:
            raise
        remedy = lines_to_add(files.place, settings)
        raise MappingError(files.company, source, f"{error.problem}{looks}", remedy) from None


def _unlike(names: Mapping[str, Mapping[str, None]]) -> list[str]:
    """Files that lack columns which others have: what stood there may go by another name now."""
    everywhere = {column for columns in names.values() for column in columns}
    return [
        f"{file} lacks {', '.join(sorted(everywhere - columns.keys()))}, which other files have."
        for file, columns in names.items()
        if everywhere - columns.keys()
    ]


def _too_many(files: FileReader, parts: Sequence[FileChunk], rejected: int, received: int) -> UnexpectedResponse:
    reasons = Counter(record.reason for record in parts[-1].chunk.rejected)
    return UnexpectedResponse(
        files.company,
        files.source,
        f"{rejected:,} of the first {counted(received, 'record')} {agreeing(rejected, 'break')} the contract, "
        f"such as: {reasons.most_common(1)[0][0]}.",
        "Mend the mapping or the file.",
    )


def _understood(files: FileReader, reading: Reading, parts: Sequence[FileChunk]) -> str:
    """How the files were read."""
    paths = files.folder.files(files.path)
    look = files.look(paths[0])
    received = sum(part.chunk.received for part in parts)
    written = [look.description(files.shape.encoding)] if look else []
    written += [f"dates as {reading.notation.date_format or 'ISO 8601'}"]
    written += ["decimal comma"] if reading.notation.decimal == "," else []
    which = paths[0].name if len(paths) == 1 else f"{len(paths)} files from {paths[0].name} to {paths[-1].name}"
    return f"{which} looks like: {', '.join(written)}; {counted(received, 'record')}."


def _letters(files: FileReader) -> list[str]:
    """How a word reads in a declared encoding of one byte, of which any reads the file."""
    path = files.first()
    look = files.look(path)
    letters = look.letters(files.shape.encoding) if look else None
    return [f"{path.name}: letters read as {in_quotes(letters)}."] if letters else []


def _doubts(files: FileReader) -> list[str]:
    """Why the declared encoding of a file may be wrong although it reads."""
    paths = files.folder.files(files.path)
    looks = [(path, look) for path in paths if (look := files.look(path)) is not None]
    return [f"{path.name}: {doubt}." for path, look in looks if (doubt := look.doubt(files.shape))]
