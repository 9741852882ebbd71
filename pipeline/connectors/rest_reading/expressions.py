"""JMESPath, by which a company's settings say where in an answer something stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator

from pipeline.connectors.errors import Unreadable

_PLAIN_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
_LONGEST = 500

Getter = Callable[[Any], Any]


def _compilable(expression: str) -> str:
    if len(expression) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} characters")
    try:
        jmespath.compile(expression)
    except JMESPathError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{expression} is no JMESPath expression ({reason})") from None
    return expression


Expression = Annotated[str, AfterValidator(_compilable)]
"""A JMESPath expression that compiles."""


def getter(expression: str) -> Getter:
    """What the expression finds in plain data, None where there is nothing.

    The getter raises Unreadable where a function of the expression does not take what it is given.
    """
    if _PLAIN_PATH.fullmatch(expression):
        return _plain_getter(expression.split("."))
    compiled = jmespath.compile(expression)

    def search(record: Any) -> Any:
        try:
            return compiled.search(record)
        except JMESPathError as error:
            reason = str(error).splitlines()[0]
            raise Unreadable(f"cannot be read by {expression} ({reason})") from None

    return search


def _plain_getter(names: list[str]) -> Getter:
    """Names with points between them, the common case, without an interpreter."""
    if len(names) == 1:
        (only,) = names
        return lambda record: record.get(only) if isinstance(record, dict) else None

    def walk(record: Any) -> Any:
        for name in names:
            if not isinstance(record, dict):
                return None
            record = record.get(name)
        return record

    return walk


def is_true(value: Any) -> bool:
    """As JMESPath has it: false are null, false and what is empty; a number is true, 0 as well."""
    return bool(value) or (isinstance(value, int | float) and not isinstance(value, bool))
