"""Casts that a query does not write and DuckDB adds, by which text is read as a number.

They are found in the plan as it is bound, where each cast has its place in the query: one that somebody wrote begins
there with `::` or `cast(`, one that was added has the place of what it casts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

_PLAN = "select json_serialize_plan(?, optimize := false, skip_null := true, skip_empty := true)"
_NUMBERS = re.compile(r'"(?:U?(?:TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL|BOOLEAN)"')
_TEXT = '"VARCHAR"'
_WRITTEN = re.compile(r"::|(?:try_)?cast\s*\(", re.IGNORECASE)


def text_read_as_number(connection: duckdb.DuckDBPyConnection, query: str) -> list[str]:
    """The expressions of a SELECT that are text and that DuckDB would read as numbers unasked, as the query has them.

    The connection has tables of its own of the query's names: others are not told of in a plan. Raises duckdb.Error
    where the query cannot be bound.
    """
    (told,) = connection.execute(_PLAN, [query]).fetchone() or ("{}",)
    plan = json.loads(told)
    if plan.get("error"):
        raise duckdb.Error(f"{str(plan.get('error_type')).title()} Error: {plan.get('error_message')}")
    casts = [(_place(cast, query), cast) for cast in _nodes(plan) if cast.get("type") == "OPERATOR_CAST"]
    return [place for place, cast in casts if not _WRITTEN.match(place) and _makes_numbers_of_text(cast)]


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _nodes(part)


def _makes_numbers_of_text(cast: dict[str, Any]) -> bool:
    """Also within a struct or a list. A constant is what its writer made it."""
    (given,) = cast["children"]
    if given.get("type") == "VALUE_CONSTANT":
        return False
    before, after = json.dumps(given.get("return_type")), json.dumps(cast.get("return_type"))
    return before.count(_TEXT) > after.count(_TEXT) and _NUMBERS.search(after) is not None


def _place(cast: dict[str, Any], query: str) -> str:
    """What stands at the cast's place, which DuckDB counts in bytes."""
    start, length = cast["query_location"], cast["query_location_length"]
    return query.encode()[start : start + length].decode(errors="replace").strip() or "a column"
