"""Records that stand in more than one file, or twice in one: each counts once, and where two disagree it is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from foundation.counting import agreeing, counted
from pipeline.connectors.contract import Chunk, Entity

_EXAMPLES = 3


@dataclass(frozen=True)
class FileChunk:
    """A chunk and the file that it was read from."""

    file: str
    chunk: Chunk


def settle_overlaps(entity: Entity, parts: Sequence[FileChunk]) -> list[Chunk]:
    """The chunks with each version of a record once.

    A record that stands elsewhere with the same id, updated_at and content is counted as unchanged; one with other
    content is a later version, and clashes where both stand in one file. What stands in two files is remarked upon.
    """
    chunks = [part.chunk for part in parts]
    places = _repeated(entity, parts)
    if places is None:
        return chunks
    removed: dict[int, set[int]] = {}
    clashing: Counter[int] = Counter()
    shared = _Shared(entity)
    newest: dict[tuple[object, object], tuple[int, int]] = {}
    for number, row in places:
        table = chunks[number].accepted
        version = (table[entity.key][row].as_py(), table["updated_at"][row].as_py())
        earlier = newest.get(version)
        newest[version] = (number, row)
        if earlier is None:
            continue
        files = (parts[earlier[0]].file, parts[number].file)
        is_same = table.slice(row, 1).equals(chunks[earlier[0]].accepted.slice(earlier[1], 1))
        shared.note(version[0], files, is_same)
        if is_same:
            removed.setdefault(number, set()).add(row)
        elif files[0] == files[1] and earlier[0] != number:
            clashing[number] += 1
    settled = [
        replace(
            chunk,
            accepted=_without_rows(chunk.accepted, removed[number]) if number in removed else chunk.accepted,
            clashing=chunk.clashing + clashing[number],
        )
        for number, chunk in enumerate(chunks)
    ]
    settled[0] = replace(settled[0], remarks=settled[0].remarks + shared.remarks())
    return settled


def _repeated(entity: Entity, parts: Sequence[FileChunk]) -> list[tuple[int, int]] | None:
    """Where the versions stand that are there more than once: number of the part, and row."""
    version = [entity.key, "updated_at"]
    columns = []
    for number, part in enumerate(parts):
        table = part.chunk.accepted
        place = pa.table(
            [
                table[entity.key],
                table["updated_at"],
                pa.array([number] * table.num_rows, pa.int32()),
                pa.array(range(table.num_rows), pa.int32()),
            ],
            names=[*version, "part", "row"],
        )
        columns.append(place)
    if not columns:
        return None
    places = pa.concat_tables(columns)
    counted = places.group_by(version).aggregate([([], "count_all")])
    repeated = counted.filter(pc.greater(counted["count_all"], 1)).select(version)
    if not repeated.num_rows:
        return None
    chosen = places.join(repeated, keys=version, join_type="left semi").sort_by(
        [("part", "ascending"), ("row", "ascending")]
    )
    return list(zip(chosen["part"].to_pylist(), chosen["row"].to_pylist(), strict=True))


def _without_rows(table: pa.Table, rows: set[int]) -> pa.Table:
    return table.take(pa.array([row for row in range(table.num_rows) if row not in rows], pa.int64()))


class _Shared:
    """Counts what stands in two files."""

    def __init__(self, entity: Entity) -> None:
        self._entity = entity
        self._same: dict[object, None] = {}
        self._other: dict[object, None] = {}
        self._files: dict[str, None] = {}

    def note(self, record_id: object, files: tuple[str, str], is_same: bool) -> None:
        if files[0] != files[1]:
            (self._same if is_same else self._other)[record_id] = None
            self._files.update(dict.fromkeys(files))

    def remarks(self) -> tuple[str, ...]:
        files = ", ".join(list(self._files)[:_EXAMPLES])
        return tuple(
            f"{counted(len(ids), self._entity.name.removesuffix('s'))} {agreeing(len(ids), 'stand')} in two files "
            f"{consequence} ({files}; such as {', '.join(map(str, list(ids)[:_EXAMPLES]))})."
            for ids, consequence in (
                (self._same, f"and {agreeing(len(self._same), 'count')} once"),
                (self._other, "with different content: the later file's counts"),
            )
            if ids
        )
