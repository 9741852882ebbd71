"""How large what a definition says may be: what is accepted here, every step for all companies can work with.

A person's words are held against it when they come. What stands in the registry is not: it was accepted before.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

LONGEST_TEXTS: Mapping[str, int] = {
    "name": 200,
    "connector_settings": 65_536,
    "custom_attributes.name": 53,
    "custom_attributes.label": 200,
    "custom_attributes.unit": 50,
    "segment_by": 63,
    "notification_addresses": 2_000,
    "notifications.owner": 200,
    "notifications.customer_link": 2_000,
    "notifications.dashboard_link": 2_000,
    "actions.label": 200,
    "actions.channel": 50,
    "actions.owner": 200,
    "actions.eligible.plans": 200,
}
"""Characters of a text, by its place in the definition; connector_settings counts as JSON.

An attribute's feature is a column whose name begins with attribute_: it fits into the 63 that Postgres keeps.
"""

MOST_ENTRIES: Mapping[str, int] = {"custom_attributes": 50, "notification_addresses": 50}

LARGEST_NUMBERS: Mapping[str, float] = {
    "notifications.smallest_value": 1e12,
    "notifications.cooldown_days": 3_650,
    "actions.cost_fixed": 1e12,
    "actions.cost_per_contact": 1e12,
    "actions.budget": 1e12,
    "actions.eligible.smallest_value": 1e12,
}

EARLIEST_CLOCK = datetime(1970, 1, 1, tzinfo=UTC)
LATEST_CLOCK = datetime(2200, 1, 1, tzinfo=UTC)


def problems(definition: Mapping[str, Any]) -> list[str]:
    """What is too large in a definition that is otherwise right, a line each; no line shows a value."""
    return [*_texts(definition), *_entries(definition), *_numbers(definition), *_clock(definition.get("clock_at"))]


def _texts(definition: Mapping[str, Any]) -> Iterator[str]:
    for field, value in definition.items():
        if any(not _is_storable(text) for text in _texts_in(value)):
            yield f"{field}: holds a character that Postgres cannot store (NUL, or half of a pair)"
    settings = json.dumps(definition.get("connector_settings", {}), default=str)
    for place, longest in LONGEST_TEXTS.items():
        texts = [settings] if place == "connector_settings" else _at(definition, place)
        if any(isinstance(text, str) and len(text) > longest for text in texts):
            yield f"{place}: must be at most {longest:,} characters long"


def _entries(definition: Mapping[str, Any]) -> Iterator[str]:
    for place, most in MOST_ENTRIES.items():
        if len(definition.get(place) or ()) > most:
            yield f"{place}: must be at most {most}"


def _numbers(definition: Mapping[str, Any]) -> Iterator[str]:
    for place, largest in LARGEST_NUMBERS.items():
        if any(not math.isfinite(number) or number > largest for number in _at(definition, place)):
            yield f"{place}: must be at most {largest:,.0f}"


def _clock(at: datetime | None) -> Iterator[str]:
    if at is not None and not EARLIEST_CLOCK <= at < LATEST_CLOCK:
        yield f"clock_at: must be between the years {EARLIEST_CLOCK.year} and {LATEST_CLOCK.year}"


def _at(value: Any, place: str) -> list[Any]:
    """The values at a place such as custom_attributes.label: one of each entry of a list."""
    values = [value]
    for step in place.split("."):
        inner = [each[step] for each in values if isinstance(each, Mapping) and each.get(step) is not None]
        values = [entry for each in inner for entry in (each if isinstance(each, list | tuple) else [each])]
    return values


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from (*_texts_in(name), *_texts_in(inner))
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _texts_in(inner)


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
