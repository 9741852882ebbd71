"""What SQL tables and files share: how a person maps columns, and putting rows in order of time."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pipeline.connectors.contract import ENTITIES, Chunk, Entity, FieldKind
from pipeline.connectors.errors import MappingError
from pipeline.connectors.notation import ISO, NUMBERED_DATES, Notation
from pipeline.connectors.validation import Reading
from warehouse.companies.definition import time_zones

TIME_COLUMNS = frozenset(
    field.name for entity in ENTITIES.values() for field in entity.fields if field.kind is FieldKind.timestamp
)


def _known_zone(name: str) -> str:
    if name not in time_zones():
        raise ValueError(f"{name} is no time zone; it must be a name such as Europe/Berlin or UTC")
    return name


def _known_format(date_format: str) -> str:
    if date_format in (ISO, *NUMBERED_DATES):
        return date_format
    if "%Z" in date_format:
        # strptime reads a zone's name and lets it go: 10:00 UTC would be 10:00 of the company's zone.
        raise ValueError(f"{date_format} has %Z: write the zone's name as it stands in the dates, and set time_zone")
    if ("%I" in date_format) != ("%p" in date_format):
        raise ValueError(f"{date_format} needs %I and %p together: an hour up to 12 may be in the morning or not")
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
        description='A pattern such as "%d.%m.%Y", epoch_seconds (or _milliseconds, _microseconds, _nanoseconds), '
        "excel or excel_1904; else ISO 8601.",
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
    complete: bool | None = Field(
        default=None,
        description="Whether a record that is not listed was deleted. Left out: true for a table, false for files.",
    )
    date_formats: dict[TimeColumn, DateFormat] = Field(
        default_factory=dict, description="date_format of single columns, by our name: {updated_at: iso}."
    )

    def applied_to(self, reading: Reading) -> Reading:
        """The reading of this table or file; whether it is stamped depends on its columns, see `stamped_by`."""
        return replace(
            self.zoned(reading),
            columns=self.columns,
            constants=self.constants,
            values=self.values,
            ignored=frozenset(self.ignored),
            notation=self.notation,
            date_formats=self.date_formats,
        )

    def stamped_by(self, reading: Reading, present: Collection[str]) -> Reading:
        """The reading of records with these columns: do they say when the source changed a record?"""
        is_stamped = "updated_at" in self.columns or "updated_at" in self.constants or "updated_at" in present
        return replace(reading, is_stamped=is_stamped)

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
        understood=tuple(dict.fromkeys(sentence for part in parts for sentence in part.understood)),
        remarks=tuple(dict.fromkeys(remark for part in parts for remark in part.remarks)),
        examples=parts[0].examples,
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
