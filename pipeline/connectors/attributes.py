"""A customer's attributes by their declared kind, where a source has only text: "12" is a number if declared one.

What does not read as its kind stays as it came: `company check` and analytics.data_rules count it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.connectors.contract import FieldKind
from pipeline.connectors.errors import Unreadable
from pipeline.connectors.notation import Notation, plain_number
from pipeline.connectors.values import read_value

_NO_ZONE = ZoneInfo("UTC")
_EXACT_INTEGER = 2**53


def typed_attributes(
    objects: Sequence[dict[str, Any]],
    kinds: Mapping[str, str],
    translations: Mapping[str, Mapping[str, str]],
    spread: str | None,
    notation: Notation,
) -> Sequence[dict[str, Any]]:
    """The objects with text in place of which stands the number or truth value that it is declared to be.

    kinds: number, flag or category by attribute. translations: by attribute, the
    source's words and those in their place.
    spread: a field whose members are attributes too.
    """
    if not kinds:
        return objects
    return [_typed(record, kinds, translations, spread, notation) for record in objects]


def _typed(
    record: dict[str, Any],
    kinds: Mapping[str, str],
    translations: Mapping[str, Mapping[str, str]],
    spread: str | None,
    notation: Notation,
) -> dict[str, Any]:
    typed = record | {
        name: _of_its_kind(translations.get(name, {}).get(text, text), kind, notation)
        for name, kind in kinds.items()
        if isinstance(text := record.get(name), str)
    }
    inner = typed.get(spread) if spread else None
    if spread and isinstance(inner, dict):
        typed[spread] = _typed(inner, kinds, translations, None, notation)
    return typed


def _of_its_kind(text: str, kind: str, notation: Notation) -> object:
    if kind == "category" or not text.strip():
        return text
    try:
        if kind == "flag":
            return read_value(FieldKind.boolean, text, _NO_ZONE)
        number = float(plain_number(text, notation))
    except Unreadable:
        return text
    return int(number) if number.is_integer() and abs(number) < _EXACT_INTEGER else number
