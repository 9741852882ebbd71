"""How a source writes numbers and dates, where it is not the plain way: a decimal comma, 31.12.2025, Excel's serials.

A notation is declared, never guessed: what it does not read is refused, even where another notation would read it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from pipeline.connectors.contract import FieldKind
from pipeline.connectors.errors import Unreadable
from pipeline.connectors.json_text import in_quotes
from pipeline.connectors.remedies import remedy_of_number, remedy_of_word

EPOCH_SECONDS, EPOCH_MILLISECONDS = "epoch_seconds", "epoch_milliseconds"
EPOCH_MICROSECONDS, EPOCH_NANOSECONDS = "epoch_microseconds", "epoch_nanoseconds"
EXCEL, EXCEL_1904 = "excel", "excel_1904"
ISO = "iso"
NUMBERED_DATES = (EPOCH_SECONDS, EPOCH_MILLISECONDS, EPOCH_MICROSECONDS, EPOCH_NANOSECONDS, EXCEL, EXCEL_1904)
"""Dates that are written as one number."""

BLANKS = " \u00a0\u202f"
"""What stands between thousands where they are set apart by a blank: also the blanks that do not break."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IN_A_SECOND = {EPOCH_SECONDS: 1, EPOCH_MILLISECONDS: 10**3, EPOCH_MICROSECONDS: 10**6, EPOCH_NANOSECONDS: 10**9}
_EARLY_SECONDS = 10**7
"""Up to April 1970: what a larger unit is read as by a smaller one, 2025 in seconds as milliseconds."""
_DAY_ZERO = {
    EXCEL: datetime(1899, 12, 30),  # noqa: DTZ001 a serial tells a local time
    EXCEL_1904: datetime(1904, 1, 1),  # noqa: DTZ001
}
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
_LONGEST_NUMBER = 20


@dataclass(frozen=True)
class Notation:
    """How one column's text is to be read.

    decimal: the mark before the fraction; None is a point that nobody declared. thousands: the mark between groups
    of three, or None where there is none. date_format: None or "iso", a pattern of strptime, or one of NUMBERED_DATES.
    """

    decimal: str | None = None
    thousands: str | None = None
    date_format: str | None = None

    def is_plain(self, kind: FieldKind) -> bool:
        """Whether values of this kind are read without a notation of their own."""
        if kind is FieldKind.timestamp:
            return self.date_format in (None, ISO)
        return kind not in (FieldKind.money, FieldKind.integer) or (self.decimal in (None, ".") and not self.thousands)


PLAIN = Notation()


def plain_number(text: str, notation: Notation) -> str:
    """The number with a point before its fraction and nothing between thousands. Raises Unreadable."""
    stripped = text.strip()
    if not number_pattern(notation.decimal or ".", notation.thousands).fullmatch(stripped):
        raise Unreadable(f"{in_quotes(text)} is not a number written with {_marks(notation)}{remedy_of_number(text)}")
    for mark in _thousands_marks(notation.thousands):
        stripped = stripped.replace(mark, "")
    return stripped.replace(notation.decimal or ".", ".")


@lru_cache
def number_pattern(decimal: str, thousands: str | None) -> re.Pattern[str]:
    """What a number looks like with these marks. Groups of thousands must be whole: 1.234 but not 12.34."""
    point = re.escape(decimal)
    whole = r"\d+"
    if thousands:
        mark = f"[{re.escape(_thousands_marks(thousands))}]"
        whole = rf"(?:\d{{1,3}}(?:{mark}\d{{3}})+|\d+)"
    return re.compile(rf"[+-]?{whole}(?:{point}\d+)?", re.ASCII)


def _thousands_marks(thousands: str | None) -> str:
    if not thousands:
        return ""
    return {" ": BLANKS, "'": "'\u2019"}.get(thousands, thousands)


def _marks(notation: Notation) -> str:
    between = f", {in_quotes(notation.thousands)} between thousands" if notation.thousands else ""
    return f"{in_quotes(notation.decimal or '.')} before the fraction{between}"


def read_moment(value: object, date_format: str) -> datetime | None:
    """A date of this format, without a zone where it tells none. None for blank text. Raises Unreadable."""
    if date_format in NUMBERED_DATES:
        return _numbered_moment(value, date_format)
    if not isinstance(value, str):
        raise Unreadable(f"{in_quotes(value)} is not a date written as {date_format}")
    text = value.strip()
    if not text:
        return None
    try:
        return datetime.strptime(text, date_format)  # noqa: DTZ007 the zone is assumed by the caller
    except ValueError:
        raise Unreadable(f"{in_quotes(value)} is not a date written as {date_format}{remedy_of_word(text)}") from None


def _numbered_moment(value: object, date_format: str) -> datetime | None:
    remedy = remedy_of_word(value) if isinstance(value, str) else ""
    unreadable = Unreadable(f"{in_quotes(value)} is not a date as a number ({date_format}){remedy}")
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise unreadable
    # No thousands stand in such a number, so that a comma can only be a decimal one.
    text = str(value).strip().replace(",", ".")
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or len(text) > _LONGEST_NUMBER:
        raise unreadable
    number = Decimal(text)
    try:
        if date_format in _DAY_ZERO:
            # A day holds 86,400 seconds; Excel's fractions are a few microseconds off the second that was meant.
            return _DAY_ZERO[date_format] + timedelta(seconds=round(number * 86_400))
        seconds = number / _IN_A_SECOND[date_format]
        if date_format != EPOCH_SECONDS and 0 < seconds < _EARLY_SECONDS:
            raise Unreadable(f"{in_quotes(value)} would be in early 1970 as {date_format}; is it of a larger unit")
        return _EPOCH + timedelta(microseconds=int(seconds * 10**6))
    except (OverflowError, InvalidOperation):
        raise unreadable from None
