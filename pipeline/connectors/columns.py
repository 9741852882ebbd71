"""Whole columns into the contract's types, as fast as Arrow can.

Where a column will not convert it is halved until the values that break it stand alone; those are read one by one
(values.py), which decides what is acceptable: the fast way may only be quicker, never laxer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.connectors.contract import ARROW_TYPES, Field, FieldKind
from pipeline.connectors.errors import Unreadable
from pipeline.connectors.json_text import in_quotes
from pipeline.connectors.notation import PLAIN, Notation
from pipeline.connectors.values import (
    EARLIEST,
    FIRST_UNSURE_ID,
    LATEST,
    LONGEST_IDENTIFIER,
    SHORTENED_NUMBER,
    read_value,
    translated,
)

ONE_BY_ONE = 32
"""From this size on a run of values that will not convert is read one by one, not halved."""

_EXACT_UP_TO = {pa.float16(): 2**11, pa.float32(): 2**24}
"""From here on these types no longer tell neighbouring whole numbers apart."""

_FAILED_CAST = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OverflowError)


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


def plain_column(values: Any) -> pa.Array | list[object]:
    """An array of one plain type; where types are mixed or nested, the values themselves."""
    if isinstance(values, pa.Array):
        if pa.types.is_dictionary(values.type):
            return plain_column(values.dictionary_decode())
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


def _values(column: pa.Array | list[object]) -> list[object]:
    return column if isinstance(column, list) else [_python_value(value) for value in column]


def translate(column: pa.Array | list[object], translation: Mapping[str, str]) -> pa.Array | list[object]:
    """Put the contract's words in place of the source's."""
    return plain_column([translated(value, translation) for value in _values(column)])


def fill(column: pa.Array | list[object], constant: str | int | float | bool) -> pa.Array | list[object]:
    """Put a constant where a value is missing."""
    if isinstance(column, pa.Array):
        if pa.types.is_null(column.type):
            return pa.repeat(pa.scalar(constant), len(column))
        if not column.null_count and not _is_text(column.type):
            return column
    return plain_column([constant if value is None or value == "" else value for value in _values(column)])


def _is_text(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_string(data_type) or pa.types.is_large_string(data_type))


def convert(
    field: Field, column: pa.Array | list[object], time_zone: ZoneInfo, notation: Notation = PLAIN
) -> tuple[pa.Array, dict[int, str]]:
    """Convert a column; returns it, null where a value is missing or unreadable, and what was unreadable by row."""
    problems: dict[int, str] = {}

    def one_by_one(values: list[object], offset: int) -> pa.Array:
        read = []
        for row, value in enumerate(values, offset):
            try:
                read.append(read_value(field.kind, value, time_zone, notation))
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
    if not notation.is_plain(field.kind) and not pa.types.is_temporal(column.type):
        # Each value once: a column of dates or prices has far fewer values than rows.
        distinct = column.dictionary_encode()
        read = one_by_one(distinct.dictionary.to_pylist(), 0)
        by_value, problems = problems, {}
        if by_value:
            places = distinct.indices.to_pylist()
            problems = {row: by_value[place] for row, place in enumerate(places) if place in by_value}
        return read.take(distinct.indices), problems
    parts = halve(column, 0)
    read = parts[0] if len(parts) == 1 else pa.concat_arrays(parts)
    blurred = _blurred_ids(column) if field.kind is FieldKind.identifier else {}
    return without(read, blurred), problems | blurred


def _blurred_ids(column: pa.Array) -> dict[int, str]:
    """Rows whose id is a number too large for a type of a few digits, by which neighbours are one number."""
    limit = _EXACT_UP_TO.get(column.type)
    if limit is None:
        return {}
    numbers = column.cast(pa.float64())
    rows = pc.indices_nonzero(pc.fill_null(pc.greater_equal(pc.abs(numbers), limit), False)).to_pylist()
    return {
        row: f"{in_quotes(numbers[row].as_py())} has lost digits: as {column.type} it may stand for several ids"
        for row in rows
    }


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
        if (pc.max(pc.abs(array)).as_py() or 0) >= FIRST_UNSURE_ID:
            raise pa.ArrowInvalid("to be read one by one")
        array = array.cast(pa.int64())
    texts = _texts_at_once(array, zone)
    longest = pc.max(pc.utf8_length(texts)).as_py() or 0
    shortened = pc.match_substring_regex(texts, rf"^\s*{SHORTENED_NUMBER.pattern}\s*$")
    if longest > LONGEST_IDENTIFIER or pc.any(pc.or_(pc.utf8_is_space(texts), shortened)).as_py():
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
        # Arrow words an error for each value that lacks an offset, so that all are tried only where one value has one.
        is_zoned = _casts(array.drop_null().slice(0, 1), utc)
        moments = array.cast(utc) if is_zoned else _assume_zone(array.cast(pa.timestamp("us")), time_zone)
    else:
        moments = _assume_zone(array.cast(pa.timestamp("us"), safe=False), time_zone)
    if len(moments) > moments.null_count:
        bounds = pc.min_max(moments).as_py()
        if not EARLIEST <= bounds["min"] <= bounds["max"] < LATEST:
            raise pa.ArrowInvalid("to be read one by one")
    return moments


def _casts(array: pa.Array, data_type: pa.DataType) -> bool:
    try:
        array.cast(data_type)
    except pa.ArrowInvalid:
        return False
    return True


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


def out_of_bounds(field: Field, array: pa.Array) -> dict[int, str]:
    """The rows whose value the field does not allow, each with the reason."""
    if field.choices is not None:
        wrong = pc.invert(pc.is_in(array, value_set=pa.array(field.choices)))
        reason = f"is unknown; it must be one of {', '.join(field.choices)}"
    else:
        wrong, reason = pa.array([False] * len(array), pa.bool_()), ""
        if field.longest is not None:
            wrong = pc.greater(pc.utf8_length(array), pa.scalar(field.longest))
            reason = f"is longer than {field.longest:,} characters"
        if field.minimum is not None:
            wrong = pc.less(array, pa.scalar(field.minimum))
            reason = f"is less than {field.minimum}"
        if field.maximum is not None:
            wrong = pc.or_(wrong, pc.greater(array, pa.scalar(field.maximum)))
            reason = f"is not between {field.minimum} and {field.maximum}"
    wrong = pc.and_(pc.fill_null(wrong, False), array.is_valid())
    return {row: f"{in_quotes(array[row].as_py())} {reason}" for row in pc.indices_nonzero(wrong).to_pylist()}


def without(array: pa.Array, rows: Mapping[int, str]) -> pa.Array:
    """The array with null in these rows: a tombstone is kept although its other values are wrong."""
    if not rows:
        return array
    values = array.to_pylist()
    return pa.array([None if row in rows else value for row, value in enumerate(values)], array.type)
