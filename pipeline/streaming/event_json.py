"""JSON of events from outside: read whole or refused, never altered on the way, and written as jsonb takes it.

orjson reads; what it would alter or refuse as a whole for the sake of one event (integers beyond 64 bits, infinite
numbers, half a surrogate pair) Python's own reader takes, so that the one event is named and the others stand.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

DEEPEST = 32
"""Levels of objects and lists in an event."""
LONGEST_KEPT = 16 * 1024
"""Characters of a rejected event that are kept."""

_MOST_DIGITS = 1_000
_LONG_DIGITS = re.compile(rb"[0-9]{19}")
_NUL = b"\\u0000"


class UnreadableJson(ValueError):
    """The text is no JSON; the message says where."""


def read_json(body: bytes) -> Any:
    """What the body says. Raises UnreadableJson."""
    if body.startswith(b"\xef\xbb\xbf"):
        body = body[3:]
    if not _LONG_DIGITS.search(body):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant, parse_int=_integer, parse_float=_float)
    except UnicodeDecodeError:
        raise UnreadableJson("The body is not UTF-8.") from None
    except RecursionError:
        raise UnreadableJson("The body is nested too deep.") from None
    except ValueError as error:
        raise UnreadableJson(f"The body is no JSON: {error}.") from None


def write_json(value: Any) -> str:
    """The value as jsonb takes it. Raises ValueError that says what in it no jsonb can hold, or nests too deep."""
    if _depth_exceeds(value, DEEPEST):
        raise ValueError(f"nests deeper than {DEEPEST} levels")
    try:
        text = orjson.dumps(value)
    except TypeError:
        text = _write_large(value)
    if _NUL in text and _holds_nul(value):
        raise ValueError("holds the character NUL, which Postgres cannot keep")
    return text.decode()


def written_size(value: Any) -> int:
    """Bytes of the value as JSON without blanks; of what cannot be written, of its nearest likeness."""
    try:
        return len(orjson.dumps(value))
    except (TypeError, RecursionError):
        return len(keepable(value).encode())


def keepable(value: Any) -> str:
    """The nearest JSON that jsonb takes, at most some thousand characters: what of a rejected event is kept."""
    text = json.dumps(_plain(value, 0), ensure_ascii=False)
    if len(text) <= LONGEST_KEPT:
        return text
    return json.dumps({"beginning": text[:LONGEST_KEPT]}, ensure_ascii=False)


def _write_large(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a character (a lone surrogate)") from None
    except TypeError:
        raise ValueError("holds a number that is too large") from None


def _depth_exceeds(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        children = value.values()
    elif isinstance(value, list):
        children = value  # type: ignore[assignment]
    else:
        return False
    return levels == 0 or any(_depth_exceeds(child, levels - 1) for child in children if isinstance(child, dict | list))


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or _holds_nul(child) for key, child in value.items())
    return isinstance(value, list) and any(map(_holds_nul, value))


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict | list) and depth > DEEPEST:
        return "..."
    if isinstance(value, dict):
        return {_plain(key, 0): _plain(child, depth + 1) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(child, depth + 1) for child in value]
    return value.beginning if isinstance(value, _TooLarge) else value


class _TooLarge:
    """A number that is infinite to who reads it: no writer takes it for one."""

    def __init__(self, digits: str) -> None:
        self.beginning = digits[:40]


def _integer(digits: str) -> int | _TooLarge:
    return int(digits) if len(digits) <= _MOST_DIGITS else _TooLarge(digits)


def _float(digits: str) -> float | _TooLarge:
    number = float(digits)
    return number if math.isfinite(number) else _TooLarge(digits)


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON")
