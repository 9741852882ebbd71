"""Checks records against the entity contract: each is accepted or rejected, none is lost.

What belongs here is judging records. Reading values is that of columns.py (many at once) and values.py (one).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.connectors.attributes import typed_attributes
from pipeline.connectors.columns import convert, fill, out_of_bounds, plain_column, translate, without
from pipeline.connectors.contract import (
    ARROW_TYPES,
    CUSTOMERS,
    Chunk,
    Entity,
    Field,
    FieldKind,
    SeenColumns,
    TimeExample,
)
from pipeline.connectors.json_text import as_shown, attributes_by_row, payload_json, storable
from pipeline.connectors.notation import PLAIN, Notation
from pipeline.connectors.values import LONGEST_IDENTIFIER, JsonKind, read_json_value
from warehouse.landing.records import RejectedRecord

CLOCK_TOLERANCE = timedelta(days=1)
"""How far a source's clock may run before ours before a version counts as unbelievable."""

LONGEST_REASON = 1000
EXAMPLES = 3


@dataclass(frozen=True)
class Reading:
    """How a company's records are to be read.

    time_zone reads times that carry no offset. now is the company's now. has_own_clock: the company
    lives at a moment of its own, so that versions after `now` are not wrong but not yet there.
    columns maps contract names to the source's names, where they differ. constants stand in for
    values that a record lacks. values translates the source's words, by contract name.
    ignored names source columns that must not be kept. spread names a source field that holds an
    object whose members are attributes. json_kinds: what unmapped source columns are, that come as text.
    is_stamped: the source says when it changed a record; where it does not, `now` stands for updated_at.
    notation says how text is written, date_formats and time_zones the same of single contract columns.
    attribute_kinds is what a customer's attributes are declared as; text that can be read as such is.
    """

    time_zone: ZoneInfo
    now: datetime
    has_own_clock: bool = False
    columns: Mapping[str, str] = dataclass_field(default_factory=dict)
    constants: Mapping[str, str | int | float | bool] = dataclass_field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = dataclass_field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    spread: str | None = None
    json_kinds: Mapping[str, JsonKind] = dataclass_field(default_factory=dict)
    is_stamped: bool = True
    notation: Notation = PLAIN
    date_formats: Mapping[str, str] = dataclass_field(default_factory=dict)
    time_zones: Mapping[str, ZoneInfo] = dataclass_field(default_factory=dict)
    attribute_kinds: Mapping[str, str] = dataclass_field(default_factory=dict)

    def zone_of(self, column: str) -> ZoneInfo:
        """The zone that a contract column's times without an offset are read in."""
        return self.time_zones.get(column, self.time_zone)

    def notation_of(self, column: str) -> Notation:
        """How a contract column is written."""
        date_format = self.date_formats.get(column, self.notation.date_format)
        return replace(self.notation, date_format=date_format)

    def kinds_of_attributes(self, entity: Entity) -> Mapping[str, str]:
        """The declared kinds of this entity's attributes: only customers have them."""
        return self.attribute_kinds if entity.name == CUSTOMERS.name else {}

    def typed(self, entity: Entity, objects: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """The records with their attributes as the kinds that they are declared to be."""
        kinds = self.kinds_of_attributes(entity)
        return typed_attributes(objects, kinds, self.values, self.spread, self.notation)

    def source_name(self, column: str) -> str:
        """The name that the source gives a contract column."""
        return self.columns.get(column, column)


def validate_records(entity: Entity, records: Sequence[object], reading: Reading) -> Chunk:
    """Check records that are Python objects, as JSON gives them. Every one is accepted or rejected."""
    objects: list[dict[str, Any]] = []
    strays: list[RejectedRecord] = []
    for record in records:
        if isinstance(record, dict):
            objects.append(record)
        else:
            what = "the line is no record" if isinstance(record, str) else "the record is not an object"
            strays.append(RejectedRecord(None, what, payload_json(record)))
    names = {name: reading.source_name(name) for name in entity.field_names}
    columns = {name: [record.get(source) for record in objects] for name, source in names.items()}
    taken = set(names.values()) | reading.ignored
    typed = reading.typed(entity, objects)
    attributes, bad_attributes = attributes_by_row(typed, taken, reading.spread)
    page = _Page(
        entity, len(objects), columns, attributes, lambda row: objects[row], _KeysOfObjects(objects, reading.spread)
    )
    for row, reason in bad_attributes.items():
        page.reject(row, reason)
    return page.finish(reading, tuple(strays))


def validate_table(entity: Entity, table: pa.Table, reading: Reading) -> Chunk:
    """Check an Arrow table whose columns carry the source's names."""
    names = {name: reading.source_name(name) for name in entity.field_names}
    present = set(table.column_names)
    columns: dict[str, Any] = {
        name: table[source].combine_chunks() if source in present else [None] * table.num_rows
        for name, source in names.items()
    }
    taken = set(names.values()) | reading.ignored
    rest = [name for name in table.column_names if name not in taken]
    objects = table.select(rest).to_pylist() if rest else [{} for _ in range(table.num_rows)]
    for name in rest:
        kind = reading.json_kinds.get(name)
        if kind is not None or _holds_infinity(table[name]):
            for record in objects:
                record[name] = read_json_value(kind, record[name])
    typed = reading.typed(entity, objects)
    attributes, bad_attributes = attributes_by_row(typed, set(), reading.spread)
    page = _Page(
        entity,
        table.num_rows,
        columns,
        attributes,
        lambda row: table.slice(row, 1).to_pylist()[0],
        _KeysOfTable(frozenset(table.column_names)),
    )
    for row, reason in bad_attributes.items():
        page.reject(row, reason)
    return page.finish(reading, ())


@dataclass(frozen=True)
class _KeysOfTable:
    """The columns of a table: every row has them all."""

    names: frozenset[str]

    def of(self, _: Sequence[int]) -> tuple[frozenset[str], frozenset[str], bool, bool]:
        return self.names, self.names, True, True


@dataclass(frozen=True)
class _KeysOfObjects:
    """The fields of objects, and those of the object that is spread among the attributes."""

    objects: Sequence[dict[str, Any]]
    spread: str | None

    def of(self, rows: Sequence[int]) -> tuple[frozenset[str], frozenset[str], bool, bool]:
        """The fields, those that may become attributes, and whether each of both sets is the same in these rows."""
        chosen = [self.objects[row] for row in rows]
        names = frozenset().union(*chosen)
        is_same = all(record.keys() == names for record in chosen)
        if self.spread is None:
            return names, names, is_same, is_same
        inside = frozenset().union(*(record[self.spread] for record in chosen if _is_object(record, self.spread)))
        return names, (names - {self.spread}) | inside, is_same, False


def _is_object(record: dict[str, Any], name: str) -> bool:
    return isinstance(record.get(name), dict)


class _Page:
    """The records of one call while they are being checked, as columns."""

    def __init__(
        self,
        entity: Entity,
        size: int,
        columns: dict[str, Any],
        attributes: list[str | None],
        payload: Callable[[int], object],
        keys: _KeysOfTable | _KeysOfObjects,
    ) -> None:
        self._keys = keys
        self._entity = entity
        self._size = size
        self._columns = columns
        self._attributes = attributes
        self._payload = payload
        self._reasons: dict[int, list[str]] = {}

    def reject(self, row: int, reason: str) -> None:
        self._reasons.setdefault(row, []).append(reason)

    def finish(self, reading: Reading, strays: tuple[RejectedRecord, ...]) -> Chunk:
        arrays: dict[str, pa.Array] = {}
        problems: dict[str, dict[int, str]] = {}
        for field in self._entity.fields:
            arrays[field.name], problems[field.name] = self._read(field, reading)
        deleted = arrays["is_deleted"].to_pylist()
        for field in self._entity.fields:
            self._judge(field, arrays[field.name], problems[field.name], deleted)
        ahead = self._check_updated_at(arrays["updated_at"], reading)
        cursor = _newest(arrays["updated_at"], self._latest_believable(reading))
        table = pa.table(
            [arrays[name] for name in self._entity.field_names] + [pa.array(self._attributes, type=pa.string())],
            schema=self._entity.schema,
        )
        kept = [row for row in range(self._size) if row not in self._reasons and row not in ahead]
        accepted = table if len(kept) == self._size else table.take(pa.array(kept, type=pa.int64()))
        accepted, clashing = _without_repeats(accepted, self._entity)
        listed = arrays[self._entity.key].drop_null()
        return Chunk(
            accepted=accepted,
            rejected=strays + tuple(self._rejected(row) for row in sorted(self._reasons) if row not in ahead),
            received=self._size + len(strays) - len(ahead),
            cursor=cursor if reading.is_stamped else None,
            ahead=len(ahead),
            is_stamped=reading.is_stamped,
            listed=listed,
            unnamed=self._size - len(listed) + len(strays),
            clashing=clashing,
            columns=self._seen_columns(reading, deleted),
            examples=self._examples(arrays, reading),
        )

    def _seen_columns(self, reading: Reading, deleted: list[bool | None]) -> tuple[SeenColumns, ...]:
        """What the records had that are not tombstones, which need have nothing."""
        live = [row for row, is_deleted in enumerate(deleted) if not is_deleted]
        if not live:
            return ()
        names, attributes, has_header, has_attribute_header = self._keys.of(live)
        sources = {field.name: reading.source_name(field.name) for field in self._entity.fields}
        return (
            SeenColumns(
                filled=frozenset(name for name in sources if _has_value(self._columns[name])),
                absent={name: source for name, source in sources.items() if source not in names},
                unmapped=attributes - set(sources.values()) - reading.ignored,
                has_header=has_header,
                has_attribute_header=has_attribute_header,
            ),
        )

    def _examples(self, arrays: Mapping[str, pa.Array], reading: Reading) -> tuple[TimeExample, ...]:
        """The first times of this page, as they came and as they were read."""
        times = [
            field.name
            for field in self._entity.fields
            if field.required
            and field.kind is FieldKind.timestamp
            and (reading.is_stamped or field.name != "updated_at")
        ]
        return tuple(
            TimeExample(name, as_shown(_at(self._columns[name], row)), moment, reading.zone_of(name).key)
            for row in range(min(self._size, EXAMPLES))
            for name in times
            if (moment := arrays[name][row].as_py()) is not None
        )[:EXAMPLES]

    def _read(self, field: Field, reading: Reading) -> tuple[pa.Array, dict[int, str]]:
        if field.name == "updated_at" and not reading.is_stamped:
            return pa.repeat(pa.scalar(reading.now, ARROW_TYPES[FieldKind.timestamp]), self._size), {}
        column = plain_column(self._columns[field.name])
        translation = reading.values.get(field.name)
        if translation:
            column = translate(column, translation)
        constant = reading.constants.get(field.name, field.default)
        if constant is not None:
            column = fill(column, constant)
        converted, unread = convert(field, column, reading.zone_of(field.name), reading.notation_of(field.name))
        wrong = out_of_bounds(field, converted)
        return without(converted, wrong), wrong | unread

    def _judge(self, field: Field, array: pa.Array, problems: dict[int, str], deleted: list[bool | None]) -> None:
        essential = field.name in (self._entity.key, "updated_at", "is_deleted")
        for row, reason in problems.items():
            if essential or not deleted[row]:
                self.reject(row, f"{field.name} {reason}")
        if not field.required or not array.null_count:
            return
        for row in pc.indices_nonzero(array.is_null()).to_pylist():
            if row not in problems and (essential or not deleted[row]):
                self.reject(row, f"{field.name} is missing")

    @staticmethod
    def _latest_believable(reading: Reading) -> datetime:
        return reading.now if reading.has_own_clock else reading.now + CLOCK_TOLERANCE

    def _check_updated_at(self, updated_at: pa.Array, reading: Reading) -> set[int]:
        """Rows that lie after the company's own clock; without one, those far ahead are rejected."""
        limit = self._latest_believable(reading)
        later = pc.fill_null(pc.greater(updated_at, pa.scalar(limit, updated_at.type)), False)
        rows = pc.indices_nonzero(later).to_pylist()
        if reading.has_own_clock:
            return set(rows)
        for row in rows:
            moment = updated_at[row].as_py().isoformat()
            self.reject(row, f"updated_at {moment} lies after now ({reading.now.isoformat()})")
        return set()

    def _rejected(self, row: int) -> RejectedRecord:
        payload = self._payload(row)
        identifier = _at(self._columns[self._entity.key], row)
        named = isinstance(identifier, str | int | Decimal) and not isinstance(identifier, bool)
        record_id = storable(str(identifier))[:LONGEST_IDENTIFIER] if named else None
        reason = "; ".join(self._reasons[row])[:LONGEST_REASON]
        return RejectedRecord(record_id or None, reason, payload_json(payload))


def _newest(updated_at: pa.Array, limit: datetime) -> datetime | None:
    believable = updated_at.filter(pc.less_equal(updated_at, pa.scalar(limit, updated_at.type)))
    newest: datetime | None = pc.max(believable).as_py()
    return newest


def _has_repeats(table: pa.Table, entity: Entity) -> bool:
    keys = table.select([entity.key, "updated_at"])
    return bool(keys.group_by([entity.key, "updated_at"]).aggregate([]).num_rows < table.num_rows)


def _without_repeats(table: pa.Table, entity: Entity) -> tuple[pa.Table, int]:
    """The table without exact repeats, which `received` still counts as unchanged; and how many records clash.

    Of repeats the last stays: between two that are alike another may say otherwise, and the last one given counts.
    """
    if not _has_repeats(table, entity):
        return table, 0
    last = {content: row for row, content in enumerate(zip(*(column.to_pylist() for column in table), strict=True))}
    moments = {content[:2] for content in last}
    return table.take(pa.array(sorted(last.values()), pa.int64())), len(last) - len(moments)


def _holds_infinity(column: pa.ChunkedArray) -> bool:
    return pa.types.is_floating(column.type) and bool(pc.any(pc.is_inf(column)).as_py())


def _has_value(column: Any) -> bool:
    if isinstance(column, pa.Array):
        return bool(column.null_count < len(column))
    return any(value is not None and value != "" for value in column)


def _at(column: Any, row: int) -> Any:
    value = column[row]
    return value.as_py() if isinstance(value, pa.Scalar) else value
