"""What SQL tables and files share: how a person maps columns, and putting rows in order of time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

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

    def applied_to(self, reading: Reading) -> Reading:
        """The reading of this table or file."""
        return replace(
            reading,
            columns=self.columns,
            constants=self.constants,
            values=self.values,
            ignored=frozenset(self.ignored),
        )

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
            if field.required and not is_mapped:
                raise MappingError(
                    company,
                    source,
                    f"nothing is mapped to {field.name}, which every record of {entity.name} needs.",
                    f"Add {place}.columns.{field.name}. Columns there: {there}.",
                )


def in_order(
    entity: Entity, parts: Sequence[Chunk], updated_since: datetime | None, chunk_rows: int
) -> Iterator[Chunk]:
    """Chunks in order of updated_at, from parts in any order; rejected records are spread evenly."""
    accepted = pa.concat_tables([part.accepted for part in parts]) if parts else entity.schema.empty_table()
    repeats = sum(part.received - part.accepted.num_rows - len(part.rejected) for part in parts)
    if updated_since is not None:
        accepted = accepted.filter(pc.field("updated_at") >= updated_since)
    accepted = accepted.sort_by([("updated_at", "ascending"), (entity.key, "ascending")])
    rejected = [record for part in parts for record in part.rejected]
    ahead = sum(part.ahead for part in parts)
    count = max(1, -(-accepted.num_rows // chunk_rows))
    for number in range(count):
        rows = accepted.slice(number * chunk_rows, chunk_rows)
        mine = tuple(rejected[number::count])
        yield Chunk(
            accepted=rows,
            rejected=mine,
            received=rows.num_rows + len(mine) + (repeats if number == 0 else 0),
            cursor=pc.max(rows["updated_at"]).as_py(),
            ahead=ahead if number == 0 else 0,
        )
