"""One value at a time into a contract kind: what is acceptable, and the reason where it is not."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from enum import StrEnum
from zoneinfo import ZoneInfo

import orjson

from pipeline.connectors.contract import FieldKind
from pipeline.connectors.errors import Unreadable
from pipeline.connectors.json_text import as_shown, in_quotes
from pipeline.connectors.notation import PLAIN, Notation, plain_number, read_moment
from pipeline.connectors.remedies import remedy_of_nothing, remedy_of_number, remedy_of_word

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
SMALLEST_UNCERTAIN_FLOAT = 2**53
"""From here on a double no longer tells neighbouring whole numbers apart."""
FIRST_UNSURE_ID = 10**15
"""A spreadsheet keeps fifteen digits of a number, and puts zeros for the others."""
LONGEST_IDENTIFIER = 200

SHORTENED_NUMBER = re.compile(r"\d([.,]\d+)?[eE]\+\d{1,3}", re.ASCII)
"""A long number as spreadsheets write it, such as 1.2346E+11: it may stand for many ids."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
_DIGITS_OF_A_DATE = 8
_TWO_READINGS = re.compile(r"(0?[1-9]|1[0-2])([./-])(0?[1-9]|1[0-2])\2\d{4}", re.ASCII)
"""Day first or month first."""
_ISO_DAY = re.compile(r"\d{4}-(?!00)\d{2}-(?!00)\d{2}", re.ASCII)
_UTC_BY_NAME = re.compile(r"\s*(?:UTC|GMT)$")
_PART_OF_AN_HOUR = re.compile(r"[^\d:]\d{2}(?::?\d{2})?[.,]\d", re.ASCII)
"""10.30 and 10:30,5: for Python the fraction is one of a second, for others 30 minutes or half a minute."""

_TRUTH = {"true": True, "t": True, "yes": True, "y": True, "1": True}
_TRUTH |= {"false": False, "f": False, "no": False, "n": False, "0": False}
_CENTS = Decimal("0.0001")
_LARGEST_MONEY = Decimal(10) ** 14
_LARGEST_INTEGER = 2**31 - 1


def read_value(kind: FieldKind, value: object, time_zone: ZoneInfo, notation: Notation = PLAIN) -> object:
    """Read one plain value as a contract kind; None and empty text are missing values.

    A moment without a zone is one of `time_zone`; `notation` says how numbers and dates are written.

    Raises Unreadable, whose text follows the field's name in a reason.
    """
    if value is None or value == "":
        return None
    if not notation.is_plain(kind):
        return _read_by_notation(kind, value, time_zone, notation)
    return _ONE_BY_ONE[kind](value, time_zone)


def _read_by_notation(kind: FieldKind, value: object, time_zone: ZoneInfo, notation: Notation) -> object:
    if kind is not FieldKind.timestamp:
        text = plain_number(value, notation) if isinstance(value, str) and value.strip() else value
        return _ONE_BY_ONE[kind](text, time_zone)
    if isinstance(value, date):  # A typed cell among texts; datetime is a date too.
        return _read_timestamp(value, time_zone)
    moment = read_moment(value, notation.date_format or "")
    return None if moment is None else _in_utc(moment, value, time_zone)


def read_text(value: object) -> str | None:
    """A single value as text: a number as it is written, without a point where it is whole. Raises Unreadable."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unreadable(f"{in_quotes(value)} is not valid Unicode text") from None
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < SMALLEST_UNCERTAIN_FLOAT else repr(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise Unreadable(f"{in_quotes(value)} is not a single value")


def translated(value: object, translation: Mapping[str, str]) -> object:
    """The contract's word in place of the source's. A number is looked up as text: 1 of a workbook, which is 1.0, as 1.

    So is a date or a moment, as an error shows it. A value that has no translation, or is none of one word, stays as
    it is.
    """
    if isinstance(value, str):
        return translation.get(value, value)
    if not isinstance(value, int | float | Decimal | date):
        return value
    return translation.get(read_text(value) or "", translation.get(as_shown(value), value))


def _read_text(value: object, _: ZoneInfo) -> str | None:
    text = read_text(value)
    if text is not None and "\0" in text:
        raise Unreadable(f"{in_quotes(text)} holds a NUL character, which Postgres cannot store")
    return text


def _read_identifier(value: object, zone: ZoneInfo) -> str | None:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise Unreadable(f"{in_quotes(value)} is not an id")
    if isinstance(value, float) and abs(value) >= FIRST_UNSURE_ID:
        raise Unreadable(f"{in_quotes(value)} has lost digits: as a number with a point it may stand for several ids")
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        value = int(value)
    text = _read_text(value, zone)
    if text is None or not text.strip():
        return None
    if SHORTENED_NUMBER.fullmatch(text.strip()):
        raise Unreadable(f"{in_quotes(text)} has lost digits: a spreadsheet wrote a long number short, give it as text")
    if len(text) > LONGEST_IDENTIFIER:
        raise Unreadable(f"{in_quotes(text)} is longer than {LONGEST_IDENTIFIER} characters")
    return text


def _read_number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise Unreadable(f"{in_quotes(value)} is not a number")
    text = (repr(value) if isinstance(value, float) else str(value)).strip()
    if not text:
        return None
    if not _NUMBER.fullmatch(text):
        raise Unreadable(f"{in_quotes(value)} is not a number{remedy_of_number(text)}")
    return Decimal(text)


def _read_integer(value: object, _: ZoneInfo) -> int | None:
    number = _read_number(value)
    if number is None:
        return None
    if number != number.to_integral_value():
        raise Unreadable(f"{in_quotes(value)} is not a whole number")
    if abs(number) > _LARGEST_INTEGER:
        raise Unreadable(f"{in_quotes(value)} is too large")
    return int(number)


def _read_money(value: object, _: ZoneInfo) -> Decimal | None:
    number = _read_number(value)
    if number is None:
        return None
    if abs(number) >= _LARGEST_MONEY:
        raise Unreadable(f"{in_quotes(value)} is too large")
    try:
        rounded = number.quantize(_CENTS, rounding=ROUND_HALF_EVEN)
    except InvalidOperation:
        raise Unreadable(f"{in_quotes(value)} is not a number") from None
    if abs(rounded) >= _LARGEST_MONEY:
        raise Unreadable(f"{in_quotes(value)} is too large")
    return rounded


def _read_boolean(value: object, _: ZoneInfo) -> bool | None:
    text = (read_text(value) or "").strip().lower()
    if not text:
        return None
    if text not in _TRUTH:
        raise Unreadable(
            f"{in_quotes(value)} is neither true nor false{remedy_of_word(text) or '; translate such words by values'}"
        )
    return _TRUTH[text]


def _read_timestamp(value: object, time_zone: ZoneInfo) -> datetime | None:
    moment = _parse_moment(value)
    return None if moment is None else _in_utc(moment, value, time_zone)


def _in_utc(moment: datetime, value: object, time_zone: ZoneInfo) -> datetime:
    try:
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=time_zone)).astimezone(UTC)
    except (OverflowError, ValueError):
        raise Unreadable(f"{in_quotes(value)} is not a believable date") from None
    if not EARLIEST <= moment < LATEST:
        raise Unreadable(
            f"{in_quotes(value)} is not between the years {EARLIEST.year} and {LATEST.year}"
            f"{remedy_of_nothing(as_shown(value), 'date')}"
        )
    return moment


def _parse_moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 the zone is assumed by the caller
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        raise Unreadable(f"{in_quotes(value)} is not a date and time; of a number say which: date_format")
    if not isinstance(value, str):
        raise Unreadable(f"{in_quotes(value)} is not a date and time")
    text = value.strip()
    if not text:
        return None
    if text.isdigit() and len(text) != _DIGITS_OF_A_DATE:
        raise Unreadable(f"{in_quotes(value)} is not a date and time (ISO 8601); of a number say which: date_format")
    try:
        if _PART_OF_AN_HOUR.search(text):
            raise ValueError
        return datetime.fromisoformat(_UTC_BY_NAME.sub("+00:00", text))
    except ValueError:
        doubt = "it fits two readings, say which" if _TWO_READINGS.match(text) else "say how it is written"
        remedy = "" if _ISO_DAY.fullmatch(text) else remedy_of_word(text) or f"; {doubt}: date_format"
        raise Unreadable(f"{in_quotes(value)} is not a date and time (ISO 8601){remedy}") from None


_ONE_BY_ONE: dict[FieldKind, Callable[[object, ZoneInfo], object]] = {
    FieldKind.identifier: _read_identifier,
    FieldKind.text: _read_text,
    FieldKind.integer: _read_integer,
    FieldKind.money: _read_money,
    FieldKind.boolean: _read_boolean,
    FieldKind.timestamp: _read_timestamp,
}


class JsonKind(StrEnum):
    """What an unmapped value is in JSON, where the source's type says so and its text no longer does."""

    number = "number"
    flag = "flag"
    json = "json"


def read_json_value(kind: JsonKind | None, value: object) -> object:
    """A value as its JSON kind; one that is not of that kind stays as it came, so that it is seen and counted.

    Infinity, which is no number in JSON, is a text there and not null.
    """
    if isinstance(value, float) and math.isinf(value):
        return repr(value)
    if kind is None or not isinstance(value, str):
        return value
    text = value.strip()
    if kind is JsonKind.number:
        return Decimal(text) if _NUMBER.fullmatch(text) else value
    if kind is JsonKind.flag:
        return _TRUTH.get(text.lower(), value)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return value
