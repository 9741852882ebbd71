"""Records that the contract accepts, each field of them as far out as it may be."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from pipeline.connectors.contract import ENTITIES, Entity, Field, FieldKind
from pipeline.connectors.values import EARLIEST, LATEST, LONGEST_IDENTIFIER
from tests.e2e.companies_of_files import NOW

COUNTS = {"customers": 60, "tickets": 200, "payments": 800, "events": 200, "campaigns": 40, "sends": 300}
LARGEST_MONEY = "99999999999999.9999"
ATTRIBUTES = [
    {"name": "size", "kind": "number", "unit": "x" * 50, "label": "%s {} ' \" \\ " + "é" * 180},
    {"name": "branch", "kind": "category", "is_fixed": True, "label": "x" * 200},
    {"name": "is_big", "kind": "flag"},
]
TASKS = {
    "churn": {"kind": "downgrade", "downgrade_share": 1.0, "horizon_days": 730},
    "support": {"horizon_days": 1},
}


def long_text(rng: random.Random, characters: int) -> str:
    """As long as it gets for an index, too: four bytes each, and nothing to compress."""
    return "".join(chr(rng.randrange(0x20000, 0x2A6D0)) for _ in range(characters))


def extreme_records(seed: int) -> dict[str, list[dict[str, Any]]]:
    """Records of every entity by name, most fields at one of their ends."""
    rng = random.Random(seed)
    customers = [f"c{number}" for number in range(30)] + [long_text(rng, LONGEST_IDENTIFIER) for _ in range(30)]
    records = {
        name: [_record(rng, entity, number, customers) for number in range(COUNTS[name])]
        for name, entity in ENTITIES.items()
    }
    for customer in records["customers"]:
        customer |= {
            "size": rng.choice([0, -1e307, 1e99, 9e29, -9e29, 1e-300, None]),
            "branch": rng.choice([long_text(rng, 200), long_text(rng, 3_000), "", "a", None]),
            "is_big": rng.choice([True, False, None]),
            "note": long_text(rng, 3_000),
        }
    return records


def _record(rng: random.Random, entity: Entity, number: int, customers: list[str]) -> dict[str, Any]:
    record = {field.name: _value(rng, field) for field in entity.fields}
    # Some versions of one record, so that there is something to compare.
    key = customers[number % len(customers)] if entity.key == "customer_id" else f"{entity.name}{number // 2}"
    record |= {entity.key: key, "updated_at": _within_the_clock(rng).isoformat(), "is_deleted": rng.random() < 0.02}
    if entity.is_of_customers and entity.key != "customer_id":
        record["customer_id"] = rng.choice(customers)
    return {name: value for name, value in record.items() if value is not None}


def _within_the_clock(rng: random.Random) -> datetime:
    days = rng.choice([0, 1, 29, 31, 365, 366, (NOW - EARLIEST).days - 1])
    return NOW - timedelta(days=days, microseconds=rng.randrange(1, 10**9))


def _value(rng: random.Random, field: Field) -> Any:
    if not field.required and rng.random() < 0.2:
        return None
    if field.choices is not None:
        return rng.choice(field.choices)
    return rng.choice(_ends(rng, field))


def _ends(rng: random.Random, field: Field) -> list[Any]:
    match field.kind:
        case FieldKind.identifier:
            return [long_text(rng, LONGEST_IDENTIFIER)]
        case FieldKind.text:
            return [long_text(rng, field.longest or 1), "a", "%s {} ' \" \\", "EUR", "high"]
        case FieldKind.integer:
            ends = (field.minimum, field.maximum)
            return [end if end is not None else sign * (2**31 - 1) for end, sign in zip(ends, (-1, 1), strict=True)]
        case FieldKind.money:
            largest = LARGEST_MONEY if field.maximum is None else str(field.maximum)
            return [largest, "0", "0.0001", "0" if field.minimum == 0 else f"-{largest}"]
        case FieldKind.boolean:
            return [True, False, False, False]
        case FieldKind.timestamp:
            near = [_within_the_clock(rng), NOW - timedelta(days=1), NOW + timedelta(days=1)]
            return [at.isoformat() for at in (EARLIEST, LATEST - timedelta(microseconds=1), *near)]


def settings() -> dict[str, Any]:
    """What of a definition is as far out as it may be."""
    return {
        "connector_settings": {
            "files": {name: {"path": f"{name}.jsonl"} for name in ENTITIES},
        },
        "name": "%s {} ' \" \\ " + "é" * 180,
        "entities": list(ENTITIES),
        "tasks": TASKS,
        "custom_attributes": ATTRIBUTES,
        "segment_by": "branch",
        "currency": "XXX",
        "time_zone": "Pacific/Kiritimati",
        "business_hours": {"monday": ["00:00", "24:00"], "sunday": ["23:58", "23:59"]},
    }
