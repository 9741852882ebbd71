"""What SQL tables and files share: how a person maps columns, and putting rows in order of time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from pipeline.connectors.contract import Chunk, Entity
from pipeline.connectors.errors import MappingError
from pipeline.connectors.validation import Reading


class ColumnMapping(BaseModel):
    """How a source's columns become the contract's.

    A contract column that is not mapped is looked for under its own name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)

    columns: dict[str, str] = Field(default_factory=dict, description="Contract column: source column.")
    constants: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="Contract column: value where the source has none."
    )
    values: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="Contract column: {the source's word: the contract's word}."
    )
    ignored: list[str] = Field(
        default_factory=list, description="Source columns that must not be kept, not even as attributes."
    )
    complete: bool | None = Field(
        default=None,
        description="Whether a record that is not listed was deleted. Left out: true for a table, false for files.",
    )

    def applied_to(self, reading: Reading, present: Collection[str]) -> Reading:
        """The reading of this table or file, whose columns are `present`."""
        return replace(
            reading,
            columns=self.columns,
            constants=self.constants,
            values=self.values,
            ignored=frozenset(self.ignored),
            is_stamped=self.is_stamped(present),
        )

    def is_stamped(self, present: Collection[str]) -> bool:
        """Whether the source says when it changed a record."""
        return self.columns.get("updated_at", "updated_at") in present or "updated_at" in self.constants

    def check(self, entity: Entity, present: Collection[str], company: str, source: str, setting: str) -> None:
        """Raise MappingError where a name of the mapping is in neither the contract nor the source."""
        place = f"connector_settings.{setting}.{entity.name}"
        for part in ("columns", "constants", "values"):
            for name in getattr(self, part):
                if name not in entity.field_names:
                    raise MappingError(
                        company,
                        source,
                        f"{place}.{part} maps {name}, which is no column of {entity.name}.",
                        f"Columns of {entity.name}: {', '.join(entity.field_names)}. "
                        "What you do not map is kept in attributes.",
                    )
        there = ", ".join(sorted(present)) or "none"
        for name, column in self.columns.items():
            if column not in present:
                raise MappingError(
                    company,
                    source,
                    f"{place}.columns.{name} is {column}, but there is no such column.",
                    f"Columns there: {there}.",
                )
        for column in self.ignored:
            if column not in present:
                raise MappingError(
                    company,
                    source,
                    f"{place}.ignored names {column}, but there is no such column.",
                    f"Columns there: {there}.",
                )
        for field in entity.fields:
            is_mapped = self.columns.get(field.name, field.name) in present or field.name in self.constants
            if field.required and field.name != "updated_at" and not is_mapped:
                raise MappingError(
                    company,
                    source,
                    f"nothing is mapped to {field.name}, which every record of {entity.name} needs.",
                    f"Add {place}.columns.{field.name}. Columns there: {there}.",
                )


def in_order(entity: Entity, parts: Sequence[Chunk], chunk_rows: int) -> Iterator[Chunk]:
    """Chunks in order of updated_at, from parts in any order; rejected records are spread evenly.

    Versions of one record and moment stay together, in the order in which the parts gave them.
    """
    if not parts:
        yield Chunk(entity.schema.empty_table(), (), 0, None)
        return
    accepted = _sorted(entity, pa.concat_tables([part.accepted for part in parts]))
    repeats = sum(part.received - part.accepted.num_rows - len(part.rejected) for part in parts)
    rejected = [record for part in parts for record in part.rejected]
    starts = _starts(entity, accepted, chunk_rows)
    for number, start in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else accepted.num_rows
        rows = accepted.slice(start, end - start)
        mine = tuple(rejected[number :: len(starts)])
        is_stamped = all(part.is_stamped for part in parts)
        chunk = Chunk(
            accepted=rows,
            rejected=mine,
            received=rows.num_rows + len(mine),
            cursor=pc.max(rows["updated_at"]).as_py() if is_stamped else None,
            is_stamped=is_stamped,
        )
        yield chunk if number else _with_what_holds_for_all(chunk, parts, repeats)


def _with_what_holds_for_all(first: Chunk, parts: Sequence[Chunk], repeats: int) -> Chunk:
    return replace(
        first,
        received=first.received + repeats,
        ahead=sum(part.ahead for part in parts),
        listed=pa.concat_arrays([part.listed for part in parts if part.listed is not None] or [pa.array([], "string")]),
        unnamed=sum(part.unnamed for part in parts),
        clashing=sum(part.clashing for part in parts),
        columns=tuple(columns for part in parts for columns in part.columns),
    )


def _sorted(entity: Entity, accepted: pa.Table) -> pa.Table:
    numbered = accepted.append_column("given_order", pa.array(range(accepted.num_rows), pa.int64()))
    keys = [("updated_at", "ascending"), (entity.key, "ascending"), ("given_order", "ascending")]
    return numbered.sort_by(keys).drop_columns(["given_order"])


def _starts(entity: Entity, accepted: pa.Table, chunk_rows: int) -> list[int]:
    """Where chunks begin, the first at 0: never between two versions of one record and moment."""
    keys = accepted.select([entity.key, "updated_at"])
    starts = [0]
    while (start := starts[-1] + chunk_rows) < accepted.num_rows:
        while start < accepted.num_rows and keys.slice(start, 1).equals(keys.slice(start - 1, 1)):
            start += 1
        if start < accepted.num_rows:
            starts.append(start)
        else:
            break
    return starts
