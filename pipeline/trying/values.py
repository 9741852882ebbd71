"""The values of one column of a table, whatever they are: numbers, dates, yes and no, or texts.

Texts are read by the notation that reads all of them, and for the whole file numbers have one decimal mark.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from foundation.counting import agreeing, counted
from pipeline.connectors.errors import Unreadable
from pipeline.connectors.file_reading.undeclared import date_readings, number_readings
from pipeline.connectors.json_text import in_quotes
from pipeline.connectors.notation import Notation, plain_number, read_moment
from pipeline.connectors.values import EARLIEST, LATEST
from pipeline.trying.errors import UnclearNotation

Kind = Literal["number", "flag", "date", "text", "nested"]

YES = frozenset({"yes", "y", "true", "t", "1"})
NO = frozenset({"no", "n", "false", "f", "0"})
_NOTHING = frozenset({"na", "n/a", "nan", "null", "none", "nil", "-", "--", "–", "?", ".", "#n/a"})
"""What is written into a column of numbers or dates where there is none. Among words "None" may be a word."""

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?", re.ASCII)
_WHOLE_DAY = re.compile(r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", re.ASCII)
_EXPONENT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)[eE][+-]?\d{1,2}", re.ASCII)
_CODE = re.compile(r"0\d+|\d{16,}", re.ASCII)
"""A number that is none: a postcode or a telephone with its zero, or more digits than a number keeps."""
_BELOW_ONE = re.compile(r"[+-]?0?([.,])\d+", re.ASCII)
_UNIT = re.compile(r"^([€$£¥₹])\s*|\s*([€$£¥₹%]|EUR|USD|GBP)$")
_EARLIEST, _LATEST = (pd.Timestamp(moment).tz_localize(None) for moment in (EARLIEST, LATEST))
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ColumnValues:
    """One column: its kind, and its values as a Series of float64, bool (object), datetime64 or str (object).

    texts: each value as a person wrote it, None where there is none. remark: what should be known of how it was read.
    """

    name: str
    kind: Kind
    values: pd.Series
    texts: pd.Series
    remark: str | None = None


@dataclass
class Notations:
    """What a person said of how a file is written: the decimal mark, the dates' format as strptime has it."""

    decimal: str | None = None
    date_format: str | None = None


@dataclass
class _Readings:
    """The distinct texts of a column that hold something, and the notations that read all of them."""

    texts: list[str]
    numbers: list[Notation] = field(default_factory=list)
    dates: list[str] = field(default_factory=list)

    @property
    def is_telling(self) -> bool:
        """Whether it shows which decimal mark the file has."""
        return len(self.numbers) == 1 and any(mark in text for text in self.texts for mark in ".,")


def read_columns(table: pa.Table, told: Notations) -> dict[str, ColumnValues]:
    """Every column by name. Raises UnclearNotation where a column's numbers fit two readings and none else decides."""
    texts = {name: _texts(table[name]) for name in table.column_names if _is_text(table[name].type)}
    readings = {name: _readings(column, told) for name, column in texts.items()}
    decimal = told.decimal or _one({each.numbers[0].decimal for each in readings.values() if each.is_telling})
    order = _one({each.dates[0][:2] for each in readings.values() if len(each.dates) == 1})
    columns = {}
    for name in table.column_names:
        if name in texts:
            columns[name] = _read_texts(name, texts[name], readings[name], decimal, order)
        else:
            columns[name] = _read_typed(name, table[name])
    return columns


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _texts(column: pa.ChunkedArray) -> pd.Series:
    """Without blanks around them; what is blank is None."""
    stripped = pd.Series(column.to_pandas().to_numpy(dtype=object), dtype=object)
    known = stripped.notna()
    stripped[known] = stripped[known].map(str.strip)
    return stripped.where(known & (stripped != ""), None)


def _readings(texts: pd.Series, told: Notations) -> _Readings:
    distinct = [text for text in texts.dropna().unique() if text.casefold() not in _NOTHING]
    readings = _Readings(distinct)
    if not distinct or any(_CODE.fullmatch(text) for text in distinct):
        return readings
    bare = [_UNIT.sub("", text) for text in distinct]
    candidates = number_readings([_without_exponent(text) for text in bare])
    if told.decimal:
        candidates = [each for each in candidates if (each.decimal or ".") == told.decimal] or candidates[:1]
    marks = {match[1] for text in bare if (match := _BELOW_ONE.fullmatch(text))}
    if len(marks) == 1:  # 0.250 is a fraction, so that 1.250 is one.
        candidates = [each for each in candidates if each.thousands not in marks] or candidates
    readings.numbers = candidates
    if not candidates or all(_WHOLE_DAY.fullmatch(text) for text in distinct):
        is_told = told.date_format is not None and _reads(distinct, told.date_format)
        readings.dates = [told.date_format] if is_told and told.date_format else _dates(distinct)
    return readings


def _dates(texts: Sequence[str]) -> list[str]:
    if all(_ISO.fullmatch(text) for text in texts):
        return ["iso"]
    if all(_WHOLE_DAY.fullmatch(text) for text in texts):
        return ["%Y%m%d"]
    return date_readings(texts)


def _reads(texts: Sequence[str], date_format: str) -> bool:
    try:
        return all(read_moment(text, date_format) is not None for text in texts)
    except Unreadable:
        return False


def _read_texts(
    name: str, texts: pd.Series, readings: _Readings, decimal: str | None, order: str | None
) -> ColumnValues:
    folded = {text.casefold() for text in readings.texts}
    if len(folded) == 2 and folded & YES and folded & NO and folded <= YES | NO:
        truth = {text: text.casefold() in YES for text in readings.texts}
        return ColumnValues(name, "flag", texts.map(truth).astype(object), texts)
    if readings.dates:
        return _read_dates(name, texts, readings, order)
    if readings.numbers:
        return _read_numbers(name, texts, readings, decimal)
    return ColumnValues(name, "text", texts, texts)


def _read_numbers(name: str, texts: pd.Series, readings: _Readings, decimal: str | None) -> ColumnValues:
    notations = readings.numbers
    if len(notations) > 1:
        notations = [each for each in notations if (each.decimal or ".") == decimal]
    if len(notations) != 1:
        example = max(readings.texts, key=len)
        raise UnclearNotation(
            f"{name} {in_quotes(example)} can be read as {_read_number(example, readings.numbers[0]):g} or as "
            f"{_read_number(example, readings.numbers[1]):g}. Add --decimal . or --decimal , to say which mark stands "
            "before a fraction."
        )
    numbers = {text: _read_number(text, notations[0]) for text in readings.texts}
    return _bounded(name, texts.map(numbers).astype(np.float64), texts)


def _read_number(text: str, notation: Notation) -> float:
    bare = _UNIT.sub("", text)
    return float(bare) if _EXPONENT.fullmatch(bare) else float(plain_number(bare, notation))


def _without_exponent(text: str) -> str:
    """A number such as 1.5e-05 as one that every notation reads or none does."""
    return text[: re.search("[eE]", text).start()] if _EXPONENT.fullmatch(text) else text  # type: ignore[union-attr]


def _bounded(name: str, numbers: pd.Series, texts: pd.Series) -> ColumnValues:
    too_large = numbers.abs() > _LARGEST
    remark = f"{int(too_large.sum()):,} of its values are infinite and count as missing" if too_large.any() else None
    return ColumnValues(name, "number", numbers.where(~too_large), texts, remark)


def _read_dates(name: str, texts: pd.Series, readings: _Readings, order: str | None) -> ColumnValues:
    formats = readings.dates
    if len(formats) > 1:
        formats = [each for each in formats if each[:2] == order]
    if len(formats) != 1:
        example = in_quotes(readings.texts[0])
        how = " or ".join(readings.dates)
        remark = f"{example} may have its day or its month first: --date-format says which ({how})"
        return ColumnValues(name, "nested", texts, texts, remark)
    if formats[0] == "iso":
        moments = pd.to_datetime(pd.Series(readings.texts), format="ISO8601", utc=True, errors="coerce")
    else:
        moments = pd.to_datetime(
            pd.Series([read_moment(text, formats[0]) for text in readings.texts]), utc=True, errors="coerce"
        )
    if moments.isna().any():
        return ColumnValues(name, "text", texts, texts)
    by_text: Mapping[str, pd.Timestamp] = dict(zip(readings.texts, moments.dt.tz_localize(None), strict=True))
    return _near(name, pd.to_datetime(texts.map(by_text)), texts)


def _near(name: str, moments: pd.Series, texts: pd.Series) -> ColumnValues:
    """A column of dates; one such as 9999-12-31 stands for none."""
    is_far = (moments < _EARLIEST) | (moments >= _LATEST)
    far = int(is_far.sum())
    told = f"{counted(far, 'date')} before 1900 or after 2199 {agreeing(far, 'stand')} for none"
    return ColumnValues(name, "date", moments.where(~is_far), texts, told if far else None)


def _read_typed(name: str, column: pa.ChunkedArray) -> ColumnValues:
    """A column that the file itself gives a type."""
    kind, types = column.type, pa.types
    texts = pd.Series([None if value is None else _written(value) for value in column.to_pylist()], dtype=object)
    if types.is_boolean(kind):
        return ColumnValues(name, "flag", pd.Series(column.to_pylist(), dtype=object), texts)
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        numbers = pd.Series(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
        return _bounded(name, numbers, texts)
    if types.is_timestamp(kind) or types.is_date(kind):
        moments = pd.to_datetime(pd.Series(column.to_pylist(), dtype=object), utc=True, errors="coerce")
        return _near(name, moments.dt.tz_localize(None), texts)
    if types.is_null(kind):
        return ColumnValues(name, "text", texts, texts)
    return ColumnValues(name, "nested", texts, texts, f"its values are of a kind that no model reads ({kind})")


def _written(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _one(values: set[str | None]) -> str | None:
    """The only decided one; None where there is none, or there are several."""
    decided = {value for value in values if value is not None}
    return decided.pop() if len(decided) == 1 else None
