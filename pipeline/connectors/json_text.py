"""Fields and records as JSON text for jsonb columns, and values as a message shows them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson

from pipeline.connectors.errors import Unreadable


def attributes_by_row(
    objects: Sequence[dict[str, Any]], taken: set[str], spread: str | None
) -> tuple[list[str | None], dict[int, str]]:
    """Each record's fields that are not `taken` as JSON, None where there are none; and why some cannot be kept.

    `spread` names a field whose members stand beside the others, not inside it.
    """
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
        text = orjson.dumps(value, default=_number_kept, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, ValueError, RecursionError):
        return _unusual_json(value)
    if "\\u0000" in text and _holds_nul(value):
        raise Unreadable("holds a NUL character, which Postgres cannot store")
    return text


def _unusual_json(value: object) -> str:
    """What orjson cannot write: numbers past 64 bits are fine, broken Unicode is not."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=_number_or_plain, allow_nan=False)
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


def _number_kept(value: object) -> object:
    """A decimal as a JSON number with all its digits; the rest as `_plain` has it."""
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(str(value))
    return _plain(value)


def _number_or_plain(value: object) -> object:
    return float(value) if isinstance(value, Decimal) and value.is_finite() else _plain(value)


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
        return storable(value)
    if isinstance(value, float):
        return value if value - value == 0 else repr(value)
    if isinstance(value, dict):
        return {storable(str(key)): _storable_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_storable_value(part) for part in value]
    return _storable_value(value.isoformat() if isinstance(value, datetime | date) else _plain(value))


def storable(text: str) -> str:
    """Text that Postgres can hold: what it cannot is shown by its escape."""
    return text.replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()


def in_quotes(value: object) -> str:
    """A value as a reason shows it: in quotes, short, with control characters escaped; nested ones by kind."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = value if isinstance(value, str) else as_shown(value)
    if len(text) > 80:
        text = text[:77] + "..."
    printable = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return f'"{storable(printable)}"'


def as_shown(value: object) -> str:
    """The value's plain text."""
    try:
        return str(value)
    except ValueError:
        return "a number of very many digits"
