"""What a person must declare before columns are read: found in the values, answered by an error with the YAML lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.connectors.contract import Entity, FieldKind
from pipeline.connectors.errors import MappingError
from pipeline.connectors.file_reading.sniffing import Look
from pipeline.connectors.file_reading.undeclared import Undeclared
from pipeline.connectors.validation import Reading


class Origin(Protocol):
    """Where values come from. place: the setting that is to be mended."""

    @property
    def company(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def place(self) -> str: ...

    def first_look(self) -> Look | None: ...


@dataclass(frozen=True)
class Setting:
    """A setting whose values come from no file that could be looked at: a query, or a table of a database."""

    company: str
    source: str
    place: str

    def first_look(self) -> None:
        """There is no file."""


@dataclass(frozen=True)
class UndeclaredColumns:
    """The source's columns of which nobody said how they are written, with what they are to be read as.

    names: ours of the source's columns of time, where they can be declared one by one.
    """

    kinds: Mapping[str, FieldKind] = field(default_factory=dict)
    names: Mapping[str, str] | None = None

    def settings(self, undeclared: Sequence[Undeclared]) -> list[str]:
        """The YAML lines: for all of a file where what is undeclared is written alike, else for each column."""
        numbers = list(dict.fromkeys(column.choice() for column in undeclared if not column.is_date))
        dates = {column.column: column for column in undeclared if column.is_date}
        formats = list(dict.fromkeys(column.choice() for column in dates.values()))
        is_mixed = any(column.stands_beside_plain_dates for column in dates.values())
        if self.names is None or (len(formats) == 1 and not is_mixed):
            return [*numbers, *formats]
        by_column = [
            f"  {name}: {dates[source].choice().removeprefix('date_format: ')}"
            for name, source in self.names.items()
            if source in dates
        ]
        return [*numbers, *(["date_formats:", *by_column] if by_column else [])]


def columns_of(entity: Entity, reading: Reading) -> UndeclaredColumns:
    """The columns of an entity's source that nobody declared."""
    kinds = {
        reading.source_name(field.name): field.kind
        for field in entity.fields
        if (field.kind is FieldKind.timestamp and reading.notation_of(field.name).date_format is None)
        or (field.kind in (FieldKind.money, FieldKind.integer) and reading.notation.decimal is None)
    }
    if reading.notation.decimal is None:
        attributes = reading.kinds_of_attributes(entity)
        kinds |= {name: FieldKind.money for name, kind in attributes.items() if kind == "number"}
    times = [field.name for field in entity.fields if field.kind is FieldKind.timestamp]
    return UndeclaredColumns(kinds, {name: reading.source_name(name) for name in times})


def refuse_undeclared(columns: UndeclaredColumns, undeclared: Sequence[Undeclared], origin: Origin) -> None:
    """Raise MappingError where values need a declaration."""
    if not undeclared:
        return
    look = origin.first_look()
    looks = dict.fromkeys([*([look.description()] if look else []), *(column.looks for column in undeclared)])
    raise MappingError(
        origin.company,
        origin.source,
        f"{'; '.join(map(str, undeclared))}. It looks like: {', '.join(looks)}.",
        lines_to_add(origin.place, columns.settings(undeclared)),
    )


def lines_to_add(place: str, settings: Sequence[str]) -> str:
    """The remedy that is a few lines of YAML."""
    return "\n".join([f"Add to {place}:", *(f"  {line}" for line in settings)])
