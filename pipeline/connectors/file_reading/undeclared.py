"""Numbers and dates that do not read the plain way, and the notations that would read them. Nothing is guessed:
what is found here ends a load, with the lines to add, or two readings between which a person must choose."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.connectors.contract import FieldKind
from pipeline.connectors.errors import Unreadable
from pipeline.connectors.file_reading.parts import Part
from pipeline.connectors.json_text import in_quotes
from pipeline.connectors.notation import (
    EPOCH_MICROSECONDS,
    EPOCH_MILLISECONDS,
    EPOCH_NANOSECONDS,
    EPOCH_SECONDS,
    EXCEL,
    Notation,
    plain_number,
    read_moment,
)

ODD_SHARE = 0.05
"""Fewer values than this share are single mistakes, which reject their records."""

_SAMPLE = 2000
_ISO = (
    r"^\s*(\d{4}-\d{2}-\d{2}|(19|2[01])\d{2}(0[1-9]|1[0-2])\d{2}|\d{4}-?W\d{2}(-?\d)?)"
    r"([T ]\s*\d{2}((:\d{2}){0,2}|\d{2}|\d{4})((:|\d)\d{2}[.,]\d+)?)?\s*(Z|UTC|GMT|[+-]\d{2}(:?\d{2}){0,2})?\s*$"
)
"""A day, a time and an offset. What only begins so, such as 2025-01-31 10:30 PM, is of another notation."""
_PLAIN_NUMBER = r"^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?\s*$"
_FRACTION = r"\.\d"
_LIKE_THOUSANDS = r"^\s*[+-]?[1-9]\d{0,2}\.\d{3}\s*$"

_DAYS = [
    pattern.replace(".", mark)
    for mark in "./- "
    for pattern in ("%d.%m.%Y", "%m.%d.%Y", "%Y.%m.%d", "%d.%m.%y", "%m.%d.%y", "%y.%m.%d")
] + [
    *("%d %b %Y", "%d-%b-%Y", "%d/%b/%Y", "%d-%b-%y", "%d%b%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y"),
    *("%a, %d %b %Y", "%A, %d %B %Y", "%A, %B %d, %Y", "%a %b %d %Y"),
]
_TIMES = (
    *("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", ", %H:%M:%S"),
    *(" %H.%M", " %H.%M.%S", " %H:%M:%S.%f", "T%H:%M", "T%H:%M:%S.%f", ":%H:%M:%S"),
)
_OFFSET = re.compile(r"(?P<blank>\s?)(Z|[+-]\d{2}:?\d{2})$", re.ASCII)
_DIGITS = {
    EPOCH_SECONDS: re.compile(r"\d{9,10}(\.\d+)?", re.ASCII),
    EPOCH_MILLISECONDS: re.compile(r"\d{12,13}(\.\d+)?", re.ASCII),
    EPOCH_MICROSECONDS: re.compile(r"\d{15,16}(\.\d+)?", re.ASCII),
    EPOCH_NANOSECONDS: re.compile(r"\d{18,19}", re.ASCII),
    EXCEL: re.compile(r"[2-7]\d{4}(\.\d+)?", re.ASCII),
    "%Y%m%d%H%M": re.compile(r"\d{12}", re.ASCII),
    "%Y%m%d%H%M%S": re.compile(r"\d{14}", re.ASCII),
    "%d%m%Y": re.compile(r"\d{8}", re.ASCII),
    "%m%d%Y": re.compile(r"\d{8}", re.ASCII),
}
"""Dates without a mark between their parts. strptime would take 1735689600 for the year 1735 and more."""
NUMBER_NOTATIONS = [
    Notation(decimal=decimal, thousands=thousands)
    for decimal, thousands in (
        (".", None),
        (",", None),
        (",", "."),
        (",", " "),
        (".", ","),
        (".", " "),
        (".", "'"),
        (",", "'"),
    )
]
_WORDS = {"%d": "day first", "%m": "month first", "%Y": "year first", "%y": "year first"}
_WORDS |= dict.fromkeys(("%b", "%B", "%a", "%A"), "month by name")


@dataclass
class _Column:
    kind: FieldKind
    plain: int = 0
    odd: dict[str, None] = field(default_factory=dict)
    odd_count: int = 0
    fractions: dict[str, None] = field(default_factory=dict)
    is_decided: bool = False
    """Some fraction cannot be thousands, so that the others are fractions too."""

    def see(self, texts: pa.Array, counts: pa.Array) -> None:
        is_plain = pc.match_substring_regex(texts, _ISO if self.kind is FieldKind.timestamp else _PLAIN_NUMBER)
        is_blank = pc.equal(pc.utf8_trim_whitespace(texts), "")
        is_odd = pc.and_not(pc.invert(is_plain), is_blank)
        odd, plain = texts.filter(is_odd), texts.filter(is_plain)
        self.plain += pc.sum(counts.filter(is_plain)).as_py() or 0
        self.odd_count += pc.sum(counts.filter(is_odd)).as_py() or 0
        _keep(self.odd, odd)
        if self.kind is not FieldKind.timestamp:
            fractions = plain.filter(pc.match_substring_regex(plain, _FRACTION))
            like_thousands = pc.match_substring_regex(fractions, _LIKE_THOUSANDS)
            self.is_decided |= not pc.all(like_thousands, min_count=0).as_py()
            _keep(self.fractions, fractions)


def _keep(sample: dict[str, None], texts: pa.Array) -> None:
    for text in texts.slice(0, max(0, _SAMPLE - len(sample))).to_pylist():
        sample[text] = None


@dataclass(frozen=True)
class Undeclared:
    """A column that does not read as declared: a value of it, and the settings that would read it, one or several."""

    column: str
    example: str
    settings: tuple[tuple[str, ...], ...]
    looks: str
    is_date: bool = False
    stands_beside_plain_dates: bool = False

    @property
    def is_ambiguous(self) -> bool:
        """Several readings fit, and they differ."""
        return len(self.settings) > 1

    def choice(self) -> str:
        """The setting as YAML, with the other readings beside it as comments."""
        first, *others = self.settings
        return "\n  ".join(first) + "".join(f"  # or {', '.join(other)}" for other in others)

    def __str__(self) -> str:
        if self.is_ambiguous:
            return f"{self.column} {in_quotes(self.example)} fits two readings"
        return f"{self.column} {in_quotes(self.example)} is not written the plain way ({self.looks})"


class UndeclaredNotations:
    """Watches the columns of which nobody said how their numbers and dates are written."""

    def __init__(self, columns: Mapping[str, FieldKind]) -> None:
        """`columns` are the source's names, with what they are to be read as."""
        self._columns = {name: _Column(kind) for name, kind in columns.items()}

    def see(self, part: Part) -> None:
        """Look at a part's values."""
        for name, column in self._columns.items():
            texts, counts = part.texts(name, with_numbers=column.kind is FieldKind.timestamp)
            if len(texts):
                column.see(texts, counts)

    def columns(self) -> list[Undeclared]:
        """The columns that need a word, once every part was seen."""
        undeclared = (
            _date(name, column) if column.kind is FieldKind.timestamp else _number(name, column)
            for name, column in self._columns.items()
        )
        plain_dates = any(column.plain and column.kind is FieldKind.timestamp for column in self._columns.values())
        return [
            replace(column, stands_beside_plain_dates=column.is_date and plain_dates)
            for column in undeclared
            if column is not None
        ]


def _date(name: str, column: _Column) -> Undeclared | None:
    if not column.odd or column.odd_count <= ODD_SHARE * (column.plain + column.odd_count):
        return None
    formats = date_readings(list(column.odd))
    if not formats:
        return None
    looks = " or ".join(_WORDS.get(date_format[:2], f"numbers: {date_format}") for date_format in formats)
    settings = tuple((f"date_format: {_yaml(date_format)}",) for date_format in formats)
    return Undeclared(name, next(iter(column.odd)), settings, looks, is_date=True)


def _yaml(date_format: str) -> str:
    return f'"{date_format}"' if "%" in date_format else date_format


def date_readings(texts: Sequence[str]) -> list[str]:
    """The formats that read all of the texts; two where a day may be a month."""
    candidates = [name for name, digits in _DIGITS.items() if all(digits.fullmatch(text.strip()) for text in texts)]
    if not candidates:
        offset = _OFFSET.search(texts[0].strip()) if texts else None
        # An offset follows a time: of 31-12-2025 the year would look like one.
        ends = [time + offset["blank"] + "%z" for time in _TIMES if time] if offset else []
        candidates = [day + end for day, end in product(_DAYS, [*ends, *_TIMES])]
    return [date_format for date_format in candidates if _reads_all(texts, date_format)]


def _reads_all(texts: Iterable[str], date_format: str) -> bool:
    try:
        return all(read_moment(text, date_format) is not None for text in texts)
    except Unreadable:
        return False


def _number(name: str, column: _Column) -> Undeclared | None:
    if column.odd:
        if column.odd_count <= ODD_SHARE * (column.plain + column.odd_count):
            return None
        texts, candidates = [*column.odd, *column.fractions], NUMBER_NOTATIONS[1:]
    elif column.fractions and not column.is_decided:
        texts, candidates = list(column.fractions), NUMBER_NOTATIONS[:3]
    else:
        return None
    readings = number_readings(texts, candidates)
    if not readings:
        return None
    settings = tuple(_number_settings(notation) for notation in readings)
    return Undeclared(name, texts[0], settings, " or ".join(map(_number_words, readings)))


def number_readings(texts: Sequence[str], candidates: Sequence[Notation] = NUMBER_NOTATIONS) -> list[Notation]:
    """The notations that read all of the texts; one of those by which they are the same numbers."""
    readings: dict[tuple[str, ...], Notation] = {}
    for notation in candidates:
        values = _values(texts, notation)
        if values is not None:
            readings.setdefault(values, notation)
    return list(readings.values())


def _values(texts: Iterable[str], notation: Notation) -> tuple[str, ...] | None:
    try:
        return tuple(plain_number(text, notation) for text in texts)
    except Unreadable:
        return None


def _number_settings(notation: Notation) -> tuple[str, ...]:
    thousands = (f"thousands: {in_quotes(notation.thousands)}",) if notation.thousands else ()
    return (f"decimal: {in_quotes(notation.decimal)}", *thousands)


def _number_words(notation: Notation) -> str:
    return "decimal comma" if notation.decimal == "," else "decimal point"
