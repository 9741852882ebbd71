"""What a person must declare before columns are read: found in the values, answered by an error with the YAML lines."""

from __future__ import annotations

from collections.abc import Sequence
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


def columns_to_watch(entity: Entity, reading: Reading) -> dict[str, FieldKind]:
    """The source's columns of which nobody said how their numbers or dates are written."""
    watched = {
        reading.source_name(field.name): field.kind
        for field in entity.fields
        if (field.kind is FieldKind.timestamp and reading.notation_of(field.name).date_format is None)
        or (field.kind in (FieldKind.money, FieldKind.integer) and reading.notation.decimal is None)
    }
    if reading.notation.decimal is None:
        kinds = reading.kinds_of_attributes(entity)
        watched |= {name: FieldKind.money for name, kind in kinds.items() if kind == "number"}
    return watched


def refuse_undeclared(entity: Entity | None, reading: Reading, found: Sequence[Undeclared], origin: Origin) -> None:
    """Raise MappingError where values need a declaration. entity: whose columns they are; None for a table of files."""
    if not found:
        return
    look = origin.first_look()
    looks = dict.fromkeys([*([look.words()] if look else []), *(column.looks for column in found)])
    raise MappingError(
        origin.company,
        origin.source,
        f"{'; '.join(map(str, found))}. It looks like: {', '.join(looks)}.",
        lines_to_add(origin.place, _settings(entity, reading, found)),
    )


def lines_to_add(place: str, settings: Sequence[str]) -> str:
    """The remedy that is a few lines of YAML."""
    return "\n".join([f"Add to {place}:", *(f"  {line}" for line in settings)])


def _settings(entity: Entity | None, reading: Reading, found: Sequence[Undeclared]) -> list[str]:
    """The YAML lines: for all of a file where what is undeclared is written alike, else for each column."""
    numbers = list(dict.fromkeys(column.choice() for column in found if not column.is_date))
    dates = {column.column: column for column in found if column.is_date}
    formats = list(dict.fromkeys(column.choice() for column in dates.values()))
    is_mixed = any(column.stands_beside_plain_dates for column in dates.values())
    if entity is None or (len(formats) == 1 and not is_mixed):
        return [*numbers, *formats]
    by_column = [
        f"  {field.name}: {dates[source].choice().removeprefix('date_format: ')}"
        for field in entity.fields
        if (source := reading.source_name(field.name)) in dates
    ]
    return [*numbers, *(["date_formats:", *by_column] if by_column else [])]
