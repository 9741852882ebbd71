"""What SQL tables and files share: how a person maps columns, and putting rows in order of time."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pipeline.connectors.contract import ENTITIES, Chunk, Entity, FieldKind
from pipeline.connectors.errors import MappingError
from pipeline.connectors.notation import ISO, NUMBERED_DATES, Notation
from pipeline.connectors.validation import Reading

TIME_COLUMNS = frozenset(
    field.name for entity in ENTITIES.values() for field in entity.fields if field.kind is FieldKind.timestamp
)


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name} is no time zone; it must be a name such as Europe/Berlin or UTC")
    return name


def _known_format(date_format: str) -> str:
    if date_format in (ISO, *NUMBERED_DATES):
        return date_format
    # What is read must hold a whole day, so that 31.12. is not taken for one of 1900.
    if not all(re.search(part, date_format) for part in ("%[Yy]|%c|%x", "%[mbB]|%j|%c|%x", "%d|%j|%c|%x")):
        raise ValueError(f"{date_format} is none of {', '.join((ISO, *NUMBERED_DATES))}, nor a pattern like %d.%m.%Y")
    return date_format


def _time_column(name: str) -> str:
    if name not in TIME_COLUMNS:
        raise ValueError(f"{name} is no time of ours; there are {', '.join(sorted(TIME_COLUMNS))}")
    return name


ZoneName = Annotated[str, AfterValidator(_known_zone)]
DateFormat = Annotated[str, AfterValidator(_known_format)]
TimeColumn = Annotated[str, AfterValidator(_time_column)]


class Zones(BaseModel):
    """In which zone times without an offset are told: of a whole source, or of one table or file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)

    time_zone: ZoneName | None = Field(
        default=None, description="Zone of times without an offset; else the company's time_zone."
    )
    time_zones: dict[TimeColumn, ZoneName] = Field(
        default_factory=dict, description="The same of single columns, by our name: {updated_at: UTC}."
    )

    def zoned(self, reading: Reading) -> Reading:
        """The reading with these zones in place of what it had."""
        return replace(
            reading,
            time_zone=ZoneInfo(self.time_zone) if self.time_zone else reading.time_zone,
            # A zone of the whole goes before a column's zone of the level above.
            time_zones={**({} if self.time_zone else reading.time_zones), **_zones(self.time_zones)},
        )


def _zones(names: dict[str, str]) -> dict[str, ZoneInfo]:
    return {column: ZoneInfo(name) for column, name in names.items()}


class Writing(BaseModel):
    """How text is written in a table or file, where it is not the plain way."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)

    decimal: Literal[".", ","] | None = Field(default=None, description="The mark before the fraction; else a point.")
    thousands: Literal[".", ",", " ", "'"] | None = Field(
        default=None, description="The mark between thousands; else there is none."
    )
    date_format: DateFormat | None = Field(
        default=None,
        description='A pattern such as "%d.%m.%Y", epoch_seconds, epoch_milliseconds or excel; else ISO 8601.',
    )

    @model_validator(mode="after")
    def _two_marks(self) -> Self:
        if self.thousands is not None and self.thousands == (self.decimal or "."):
            raise ValueError("decimal and thousands must differ: name both where the decimal mark is no point")
        return self

    @property
    def notation(self) -> Notation:
        """How it is written."""
        return Notation(self.decimal, self.thousands, self.date_format)


class ColumnMapping(Zones, Writing):
    """How a source's columns become the contract's.

    A contract column that is not mapped is looked for under its own name.
    """

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
    date_formats: dict[TimeColumn, DateFormat] = Field(
        default_factory=dict, description="date_format of single columns, by our name: {updated_at: iso}."
    )

    def applied_to(self, reading: Reading) -> Reading:
        """The reading of this table or file."""
        return replace(
            self.zoned(reading),
            columns=self.columns,
            constants=self.constants,
            values=self.values,
            ignored=frozenset(self.ignored),
            notation=self.notation,
            date_formats=self.date_formats,
        )

    def check(
        self,
        entity: Entity,
        present: Collection[str],
        company: str,
        source: str,
        setting: str,
        attributes: Collection[str] = (),
    ) -> None:
        """Raise MappingError where a name of the mapping is in neither the contract nor the source.

        attributes: declared ones, whose words may be translated like a column's.
        """
        place = f"connector_settings.{setting}.{entity.name}"
        for part in ("columns", "constants", "values"):
            for name in getattr(self, part):
                if name not in entity.field_names and not (part == "values" and name in attributes):
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
    remarks = tuple(dict.fromkeys(remark for part in parts for remark in part.remarks))
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
            remarks=remarks if number == 0 else (),
            examples=parts[0].examples if number == 0 and parts else (),
        )
