"""Checks records against the entity contract: each is accepted or rejected, none is lost.

A whole page is converted column by column with Arrow. Only where a column will not
convert is it halved until the values that break it stand alone; those are read one by
one, so that each rejected record has its own reason. The one-by-one reader decides
what is acceptable; the fast way may only be quicker, never laxer.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.connectors.contract import ARROW_TYPES, Chunk, Entity, Field, FieldKind
from warehouse.version_log import RejectedRecord

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
CLOCK_TOLERANCE = timedelta(days=1)
"""How far a source's clock may run before ours before a version counts as unbelievable."""

SMALLEST_UNCERTAIN_FLOAT = 2**53
"""From here on a double no longer tells neighbouring whole numbers apart."""
LONGEST_IDENTIFIER = 200
LONGEST_REASON = 1000
ONE_BY_ONE = 32
"""From this size on a run of values that will not convert is read one by one, not halved."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
_TRUTH = {"true": True, "t": True, "yes": True, "y": True, "1": True}
_TRUTH |= {"false": False, "f": False, "no": False, "n": False, "0": False}
_CENTS = Decimal("0.0001")
_LARGEST_MONEY = Decimal(10) ** 14
_LARGEST_INTEGER = 2**31 - 1
_FAILED_CAST = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OverflowError)


class Unreadable(ValueError):
    """A value that cannot be read as its field's kind; the text says why, without the field's name."""


@dataclass(frozen=True)
class Reading:
    """How a company's records are to be read.

    time_zone reads times that carry no offset. now is the company's now. has_own_clock: the company
    lives at a moment of its own, so that versions after `now` are not wrong but not yet there.
    columns maps contract names to the source's names, where they differ. constants stand in for
    values that a record lacks. values translates the source's words, by contract name.
    ignored names source columns that must not be kept. spread names a source field that holds an
    object whose members are attributes.
    """

    time_zone: ZoneInfo
    now: datetime
    has_own_clock: bool = False
    columns: Mapping[str, str] = dataclass_field(default_factory=dict)
    constants: Mapping[str, str | int | float | bool] = dataclass_field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = dataclass_field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    spread: str | None = None

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
    attributes, bad_attributes = _attributes(objects, taken, reading.spread)
    page = _Page(entity, len(objects), columns, attributes, lambda row: objects[row])
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
    attributes, bad_attributes = _attributes(objects, set(), reading.spread)
    page = _Page(entity, table.num_rows, columns, attributes, lambda row: table.slice(row, 1).to_pylist()[0])
    for row, reason in bad_attributes.items():
        page.reject(row, reason)
    return page.finish(reading, ())


class _Page:
    """The records of one call while they are being checked, as columns."""

    def __init__(
        self,
        entity: Entity,
        size: int,
        columns: dict[str, Any],
        attributes: list[str | None],
        payload: Callable[[int], object],
    ) -> None:
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
        self._reject_contradictions(table, ahead)
        kept = [row for row in range(self._size) if row not in self._reasons and row not in ahead]
        accepted = table if len(kept) == self._size else table.take(pa.array(kept, type=pa.int64()))
        return Chunk(
            accepted=_without_repeats(accepted, self._entity),
            rejected=strays + tuple(self._rejected(row) for row in sorted(self._reasons) if row not in ahead),
            received=self._size + len(strays) - len(ahead),
            cursor=cursor,
            ahead=len(ahead),
        )

    def _read(self, field: Field, reading: Reading) -> tuple[pa.Array, dict[int, str]]:
        column = _plain_column(self._columns[field.name])
        translation = reading.values.get(field.name)
        if translation:
            column = _translate(column, translation)
        constant = reading.constants.get(field.name, field.default)
        if constant is not None:
            column = _fill(column, constant)
        converted, unread = _convert(field, column, reading.time_zone)
        wrong = _out_of_bounds(field, converted)
        return _without(converted, wrong), wrong | unread

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

    def _reject_contradictions(self, table: pa.Table, ahead: set[int]) -> None:
        """Of versions that share id and updated_at but differ, the first stays."""
        first: dict[tuple[Any, Any], int] = {}
        if not _has_repeats(table, self._entity):
            return
        keys = zip(table[self._entity.key].to_pylist(), table["updated_at"].to_pylist(), strict=True)
        for row, key in enumerate(keys):
            if row in self._reasons or row in ahead:
                continue
            earlier = first.setdefault(key, row)
            if earlier != row and not table.slice(row, 1).equals(table.slice(earlier, 1)):
                self.reject(row, "another record of the same id and updated_at says otherwise; the first stays")

    def _rejected(self, row: int) -> RejectedRecord:
        payload = self._payload(row)
        identifier = _at(self._columns[self._entity.key], row)
        named = isinstance(identifier, str | int | Decimal) and not isinstance(identifier, bool)
        record_id = _storable(str(identifier))[:LONGEST_IDENTIFIER] if named else None
        reason = "; ".join(self._reasons[row])[:LONGEST_REASON]
        return RejectedRecord(record_id or None, reason, payload_json(payload))


def _newest(updated_at: pa.Array, limit: datetime) -> datetime | None:
    believable = updated_at.filter(pc.less_equal(updated_at, pa.scalar(limit, updated_at.type)))
    newest: datetime | None = pc.max(believable).as_py()
    return newest


def _has_repeats(table: pa.Table, entity: Entity) -> bool:
    keys = table.select([entity.key, "updated_at"])
    return bool(keys.group_by([entity.key, "updated_at"]).aggregate([]).num_rows < table.num_rows)


def _without_repeats(table: pa.Table, entity: Entity) -> pa.Table:
    """Drop exact repeats of a version; `received` still counts them, as unchanged records."""
    if not _has_repeats(table, entity):
        return table
    numbered = table.select([entity.key, "updated_at"]).append_column(
        "row", pa.array(range(table.num_rows), type=pa.int64())
    )
    first = numbered.group_by([entity.key, "updated_at"]).aggregate([("row", "min")])["row_min"]
    return table.take(first.combine_chunks().sort())


def _at(column: Any, row: int) -> Any:
    value = column[row]
    return value.as_py() if isinstance(value, pa.Scalar) else value


# From whatever came to an Arrow array of plain values


def _is_plain(data_type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(data_type)
        or types.is_large_string(data_type)
        or types.is_integer(data_type)
        or types.is_floating(data_type)
        or types.is_decimal(data_type)
        or types.is_boolean(data_type)
        or types.is_timestamp(data_type)
        or types.is_date(data_type)
        or types.is_null(data_type)
    )


def _plain_column(values: Any) -> pa.Array | list[object]:
    """An array of one plain type; where types are mixed or nested, the values themselves."""
    if isinstance(values, pa.Array):
        if pa.types.is_dictionary(values.type):
            return _plain_column(values.dictionary_decode())
        if pa.types.is_string_view(values.type):
            return values.cast(pa.string())
        return values if _is_plain(values.type) else values.to_pylist()
    try:
        array = pa.array(values)
    except (*_FAILED_CAST, UnicodeEncodeError, ValueError):
        return list(values)
    # Arrow would read true among fractions as 1.0.
    disguised = pa.types.is_floating(array.type) and any(isinstance(value, bool) for value in values)
    return array if _is_plain(array.type) and not disguised else list(values)


def _as_text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unreadable(f"{shown(value)} is not valid Unicode text") from None
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < SMALLEST_UNCERTAIN_FLOAT else repr(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise Unreadable(f"{shown(value)} is not a single value")


def _values(column: pa.Array | list[object]) -> list[object]:
    return column if isinstance(column, list) else [_python_value(value) for value in column]


def _translate(column: pa.Array | list[object], translation: Mapping[str, str]) -> pa.Array | list[object]:
    def word(value: object) -> object:
        return translation.get(_as_shown(value), value) if isinstance(value, str | int | float) else value

    return _plain_column([word(value) for value in _values(column)])


def _fill(column: pa.Array | list[object], constant: str | int | float | bool) -> pa.Array | list[object]:
    """Put a constant where a value is missing."""
    if isinstance(column, pa.Array):
        if pa.types.is_null(column.type):
            return pa.repeat(pa.scalar(constant), len(column))
        if not column.null_count and not _is_text(column.type):
            return column
    return _plain_column([constant if value is None or value == "" else value for value in _values(column)])


# From plain arrays to the contract's types


def _is_text(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_string(data_type) or pa.types.is_large_string(data_type))


def _convert(field: Field, column: pa.Array | list[object], time_zone: ZoneInfo) -> tuple[pa.Array, dict[int, str]]:
    """Convert a column; returns it, null where a value is missing or unreadable, and what was unreadable."""
    problems: dict[int, str] = {}

    def one_by_one(values: list[object], offset: int) -> pa.Array:
        read = []
        for row, value in enumerate(values, offset):
            try:
                read.append(read_value(field.kind, value, time_zone))
            except Unreadable as error:
                problems[row] = str(error)
                read.append(None)
        return pa.array(read, type=ARROW_TYPES[field.kind])

    def halve(part: pa.Array, offset: int) -> list[pa.Array]:
        try:
            return [_convert_at_once(field.kind, part, time_zone)]
        except _FAILED_CAST:
            if len(part) <= ONE_BY_ONE:
                return [one_by_one(_values(part), offset)]
        half = len(part) // 2
        return halve(part.slice(0, half), offset) + halve(part.slice(half), offset + half)

    if isinstance(column, list):
        return one_by_one(column, 0), problems
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), ARROW_TYPES[field.kind]), problems
    parts = halve(column, 0)
    return (parts[0] if len(parts) == 1 else pa.concat_arrays(parts)), problems


def _python_value(scalar: pa.Scalar) -> object:
    """The scalar in Python; nanoseconds are cut to microseconds, which is what Postgres keeps."""
    if pa.types.is_timestamp(scalar.type) and scalar.type.unit == "ns" and scalar.is_valid:
        return scalar.cast(pa.timestamp("us", scalar.type.tz), safe=False).as_py()
    return scalar.as_py()


def _convert_at_once(kind: FieldKind, array: pa.Array, time_zone: ZoneInfo) -> pa.Array:
    if _is_text(array.type):
        array = array.cast(pa.string())
        array = pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)
    return _AT_ONCE[kind](array, time_zone)


def _texts_at_once(array: pa.Array, _: ZoneInfo) -> pa.Array:
    if pa.types.is_integer(array.type):
        return array.cast(pa.string())
    if not _is_text(array.type) or pc.any(pc.match_substring(array, "\0")).as_py():
        raise pa.ArrowInvalid("to be read one by one")
    return array


def _identifiers_at_once(array: pa.Array, zone: ZoneInfo) -> pa.Array:
    if pa.types.is_floating(array.type):
        if (pc.max(pc.abs(array)).as_py() or 0) >= SMALLEST_UNCERTAIN_FLOAT:
            raise pa.ArrowInvalid("to be read one by one")
        array = array.cast(pa.int64())
    texts = _texts_at_once(array, zone)
    longest = pc.max(pc.utf8_length(texts)).as_py() or 0
    if longest > LONGEST_IDENTIFIER or pc.any(pc.utf8_is_space(texts)).as_py():
        raise pa.ArrowInvalid("to be read one by one")
    return texts


def _integers_at_once(array: pa.Array, _: ZoneInfo) -> pa.Array:
    if _is_text(array.type):
        # Arrow would read "0x10" as sixteen.
        if not pc.all(pc.match_substring_regex(array, r"^-?[0-9]{1,10}$"), min_count=0).as_py():
            raise pa.ArrowInvalid("to be read one by one")
    elif not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        raise pa.ArrowInvalid("to be read one by one")
    return array.cast(pa.int32())


def _money_at_once(array: pa.Array, _: ZoneInfo) -> pa.Array:
    if pa.types.is_boolean(array.type) or pa.types.is_temporal(array.type):
        raise pa.ArrowInvalid("to be read one by one")
    if pa.types.is_integer(array.type):
        array = array.cast(pa.decimal128(38, 0))
    exact = array.cast(pa.decimal128(38, 10))
    return pc.round(exact, ndigits=4, round_mode="half_to_even").cast(pa.decimal128(18, 4))


def _booleans_at_once(array: pa.Array, _: ZoneInfo) -> pa.Array:
    if pa.types.is_boolean(array.type):
        return array
    raise pa.ArrowInvalid("to be read one by one")


def _timestamps_at_once(array: pa.Array, time_zone: ZoneInfo) -> pa.Array:
    utc = ARROW_TYPES[FieldKind.timestamp]
    if not (_is_text(array.type) or pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)):
        raise pa.ArrowInvalid("to be read one by one")
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        moments = array.cast(utc, safe=False)
    elif _is_text(array.type):
        try:
            moments = array.cast(utc)
        except pa.ArrowInvalid:
            moments = _assume_zone(array.cast(pa.timestamp("us")), time_zone)
    else:
        moments = _assume_zone(array.cast(pa.timestamp("us"), safe=False), time_zone)
    if len(moments) > moments.null_count:
        bounds = pc.min_max(moments).as_py()
        if not EARLIEST <= bounds["min"] <= bounds["max"] < LATEST:
            raise pa.ArrowInvalid("to be read one by one")
    return moments


def _assume_zone(array: pa.Array, time_zone: ZoneInfo) -> pa.Array:
    local = pc.assume_timezone(array, time_zone.key, ambiguous="earliest", nonexistent="raise")
    return local.cast(ARROW_TYPES[FieldKind.timestamp])


_AT_ONCE: dict[FieldKind, Callable[[pa.Array, ZoneInfo], pa.Array]] = {
    FieldKind.identifier: _identifiers_at_once,
    FieldKind.text: _texts_at_once,
    FieldKind.integer: _integers_at_once,
    FieldKind.money: _money_at_once,
    FieldKind.boolean: _booleans_at_once,
    FieldKind.timestamp: _timestamps_at_once,
}


# One value at a time: what decides


def read_value(kind: FieldKind, value: object, time_zone: ZoneInfo) -> object:
    """Read one plain value as a contract kind; None and empty text are missing values.

    Raises Unreadable, whose text follows the field's name in a reason.
    """
    if value is None or value == "":
        return None
    return _ONE_BY_ONE[kind](value, time_zone)


def _read_text(value: object, _: ZoneInfo) -> str | None:
    text = _as_text(value)
    if text is not None and "\0" in text:
        raise Unreadable(f"{shown(text)} holds a NUL character, which Postgres cannot store")
    return text


def _read_identifier(value: object, zone: ZoneInfo) -> str | None:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise Unreadable(f"{shown(value)} is not an id")
    if isinstance(value, float) and abs(value) >= SMALLEST_UNCERTAIN_FLOAT:
        raise Unreadable(f"{shown(value)} has lost digits: as a number with a point it may stand for several ids")
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        value = int(value)
    text = _read_text(value, zone)
    if text is None or not text.strip():
        return None
    if len(text) > LONGEST_IDENTIFIER:
        raise Unreadable(f"{shown(text)} is longer than {LONGEST_IDENTIFIER} characters")
    return text


def _read_number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise Unreadable(f"{shown(value)} is not a number")
    text = (repr(value) if isinstance(value, float) else str(value)).strip()
    if not text:
        return None
    if not _NUMBER.fullmatch(text):
        raise Unreadable(f"{shown(value)} is not a number")
    return Decimal(text)


def _read_integer(value: object, _: ZoneInfo) -> int | None:
    number = _read_number(value)
    if number is None:
        return None
    if number != number.to_integral_value():
        raise Unreadable(f"{shown(value)} is not a whole number")
    if abs(number) > _LARGEST_INTEGER:
        raise Unreadable(f"{shown(value)} is too large")
    return int(number)


def _read_money(value: object, _: ZoneInfo) -> Decimal | None:
    number = _read_number(value)
    if number is None:
        return None
    if abs(number) >= _LARGEST_MONEY:
        raise Unreadable(f"{shown(value)} is too large")
    try:
        rounded = number.quantize(_CENTS, rounding=ROUND_HALF_EVEN)
    except InvalidOperation:
        raise Unreadable(f"{shown(value)} is not a number") from None
    if abs(rounded) >= _LARGEST_MONEY:
        raise Unreadable(f"{shown(value)} is too large")
    return rounded


def _read_boolean(value: object, _: ZoneInfo) -> bool | None:
    text = (_as_text(value) or "").strip().lower()
    if not text:
        return None
    if text not in _TRUTH:
        raise Unreadable(f"{shown(value)} is neither true nor false")
    return _TRUTH[text]


def _read_timestamp(value: object, time_zone: ZoneInfo) -> datetime | None:
    moment = _parse_moment(value)
    if moment is None:
        return None
    try:
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=time_zone)).astimezone(UTC)
    except (OverflowError, ValueError):
        raise Unreadable(f"{shown(value)} is not a believable date") from None
    if not EARLIEST <= moment < LATEST:
        raise Unreadable(f"{shown(value)} is not between the years {EARLIEST.year} and {LATEST.year}")
    return moment


def _parse_moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 the zone is assumed by the caller
    if not isinstance(value, str):
        raise Unreadable(f"{shown(value)} is not a date and time")
    text = value.strip()
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Unreadable(f"{shown(value)} is not a date and time (ISO 8601)") from None


_ONE_BY_ONE: dict[FieldKind, Callable[[object, ZoneInfo], object]] = {
    FieldKind.identifier: _read_identifier,
    FieldKind.text: _read_text,
    FieldKind.integer: _read_integer,
    FieldKind.money: _read_money,
    FieldKind.boolean: _read_boolean,
    FieldKind.timestamp: _read_timestamp,
}


def _out_of_bounds(field: Field, array: pa.Array) -> dict[int, str]:
    if field.choices is not None:
        wrong = pc.invert(pc.is_in(array, value_set=pa.array(field.choices)))
        reason = f"is unknown; it must be one of {', '.join(field.choices)}"
    else:
        wrong, reason = pa.array([False] * len(array), pa.bool_()), ""
        if field.minimum is not None:
            wrong = pc.less(array, pa.scalar(field.minimum))
            reason = f"is less than {field.minimum}"
        if field.maximum is not None:
            wrong = pc.or_(wrong, pc.greater(array, pa.scalar(field.maximum)))
            reason = f"is not between {field.minimum} and {field.maximum}"
    wrong = pc.and_(pc.fill_null(wrong, False), array.is_valid())
    return {row: f"{shown(array[row].as_py())} {reason}" for row in pc.indices_nonzero(wrong).to_pylist()}


def _without(array: pa.Array, rows: Mapping[int, str]) -> pa.Array:
    """The array with null in these rows: a tombstone is kept although its other values are wrong."""
    if not rows:
        return array
    values = array.to_pylist()
    return pa.array([None if row in rows else value for row, value in enumerate(values)], array.type)


# Attributes and payloads as JSON


def _attributes(
    objects: list[dict[str, Any]], taken: set[str], spread: str | None
) -> tuple[list[str | None], dict[int, str]]:
    texts: list[str | None] = []
    problems: dict[int, str] = {}
    for row, record in enumerate(objects):
        rest = {name: value for name, value in record.items() if name not in taken}
        if spread in rest:
            rest = _spread(rest, spread)
        try:
            texts.append(_attributes_json(rest) if rest else None)
        except Unreadable as error:
            problems[row] = f"an unmapped field {error}"
            texts.append(None)
    return texts, problems


def _spread(rest: dict[str, Any], name: str) -> dict[str, Any]:
    inner = rest[name]
    if inner is None:
        return {key: value for key, value in rest.items() if key != name}
    if not isinstance(inner, dict):
        return rest
    outer = {key: value for key, value in rest.items() if key != name}
    return outer | {key if key not in outer else f"{name}.{key}": value for key, value in inner.items()}


def _attributes_json(value: dict[str, Any]) -> str:
    try:
        text = orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, ValueError, RecursionError):
        return _unusual_json(value)
    if "\\u0000" in text and _holds_nul(value):
        raise Unreadable("holds a NUL character, which Postgres cannot store")
    return text


def _unusual_json(value: object) -> str:
    """What orjson cannot write: numbers past 64 bits are fine, broken Unicode is not."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=_plain, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        raise Unreadable("cannot be kept as JSON") from None
    if "\\u0000" in text and _holds_nul(value):
        raise Unreadable("holds a NUL character, which Postgres cannot store")
    return text


def _holds_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return any(_holds_nul(part) for part in value)
    return False


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)


def payload_json(value: object) -> str:
    """Any value as JSON that jsonb can hold; what it cannot hold is shown by its escape."""
    try:
        return json.dumps(_storable_value(value), ensure_ascii=False, sort_keys=True)
    except RecursionError:
        return json.dumps("nested too deeply to keep")


def _storable_value(value: object) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, float):
        return value if value - value == 0 else repr(value)
    if isinstance(value, dict):
        return {_storable(str(key)): _storable_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_storable_value(part) for part in value]
    return _storable_value(value.isoformat() if isinstance(value, datetime | date) else _plain(value))


def _storable(text: str) -> str:
    return text.replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()


def shown(value: object) -> str:
    """A value as a reason shows it: in quotes, short, with control characters escaped; nested ones by kind."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = value if isinstance(value, str) else _as_shown(value)
    if len(text) > 80:
        text = text[:77] + "..."
    printable = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return f'"{_storable(printable)}"'


def _as_shown(value: object) -> str:
    try:
        return str(value)
    except ValueError:
        return "a number of very many digits"
