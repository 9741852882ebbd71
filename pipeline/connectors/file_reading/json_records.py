"""One line of JSON as a record, with every digit of its numbers, and no field that hides another of its name."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import orjson

from foundation.errors import ChurnError
from pipeline.connectors.file_reading.streams import UnreadableFile

_NAME = re.compile(rb'"[ \t]*:')
_MANY_DIGITS = re.compile(rb"\d[\d.]{15}")
"""A double keeps fifteen digits of a number for sure."""
_DIGITS_OF_AN_INTEGER = 18
"""As many as any integer of 64 bits has."""


class RepeatedName(ChurnError):
    """An object names two of its fields alike, of which a parser keeps one."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def json_record(line: bytes, number: int) -> Any:
    """What the line holds; its text where that is no JSON. Numbers that a double would cut short come as Decimal.

    Raises RepeatedName, and UnreadableFile where the line holds several records.
    """
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        text = line.decode(errors="backslashreplace")
        _refuse_several(text, number)
        return text
    # The fast parser tells neither: what may be concerned is read once more, by one that does.
    if _may_repeat_a_name(line, record) or _MANY_DIGITS.search(line):
        return json.loads(line, object_pairs_hook=_each_name_once, parse_float=Decimal, parse_int=_whole_number)
    return record


def _may_repeat_a_name(line: bytes, record: Any) -> bool:
    """Whether the line has more of what looks like a name than the record has names."""
    names = _names_in(record)
    is_spaced = b" :" in line or b"\t:" in line
    return len(_NAME.findall(line)) > names if is_spaced else line.count(b'":') > names


def _names_in(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(_names_in(part) for part in value.values() if isinstance(part, dict | list))
    return sum(map(_names_in, value)) if isinstance(value, list) else 0


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise RepeatedName(next(name for name in names if names.count(name) > 1))
    return record


def _whole_number(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _DIGITS_OF_AN_INTEGER else Decimal(digits)


def _refuse_several(text: str, number: int) -> None:
    try:
        record, end = json.JSONDecoder().raw_decode(text)
    except (json.JSONDecodeError, RecursionError):
        return
    if isinstance(record, dict) and text[end:].lstrip(" ,\t").startswith("{"):
        raise UnreadableFile(f"line {number} holds several records; write one record a line")
