"""A customer's attributes by their declared kind, where a source has another: "12" is a number if declared one, and 1
is true if declared a flag.

What does not read as its kind stays as it came: `company check` and analytics.data_rules count it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.connectors.contract import FieldKind
from pipeline.connectors.errors import Unreadable
from pipeline.connectors.notation import Notation, plain_number
from pipeline.connectors.values import read_value, translated

_NO_ZONE = ZoneInfo("UTC")
_EXACT_INTEGER = 2**53


def typed_attributes(
    objects: Sequence[dict[str, Any]],
    kinds: Mapping[str, str],
    translations: Mapping[str, Mapping[str, str]],
    spread: str | None,
    notation: Notation,
) -> Sequence[dict[str, Any]]:
    """The objects with the number or truth value in place of what is declared to be one.

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
        name: _of_its_kind(translated(value, translations.get(name, {})), kind, notation)
        for name, kind in kinds.items()
        if isinstance(value := record.get(name), str | int | float | Decimal)
    }
    inner = typed.get(spread) if spread else None
    if spread and isinstance(inner, dict):
        typed[spread] = _typed(inner, kinds, translations, None, notation)
    return typed


def _of_its_kind(value: object, kind: str, notation: Notation) -> object:
    if kind == "category" or (isinstance(value, str) and not value.strip()):
        return value
    try:
        if kind == "flag":
            return read_value(FieldKind.boolean, value, _NO_ZONE)
        if not isinstance(value, str):
            return value
        number = float(plain_number(value, notation))
    except Unreadable:
        return value
    return int(number) if number.is_integer() and abs(number) < _EXACT_INTEGER else number
