"""Small companies whose records are CSV files, for runs of the whole line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

NOW = datetime(2025, 12, 1, tzinfo=UTC)
CUSTOMERS = 12
Record = Mapping[str, object]


def definition(slug: str, **fields: Any) -> dict[str, Any]:
    """A shop that loses customers by their silence; ``fields`` come on top."""
    return {
        "slug": slug,
        "name": slug.title(),
        "connector": "files",
        "connector_settings": {
            "directory": f"imports/{slug}",
            "files": {name: {"path": f"{name}.csv"} for name in ("customers", "payments")},
        },
        "entities": ["customers", "payments"],
        "tasks": {"churn": {"kind": "inactivity", "inactivity_days": 60, "horizon_days": 30}},
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "clock_at": NOW.isoformat(),
        **fields,
    }


def customers(count: int = CUSTOMERS, **fields: object) -> list[Record]:
    """Customers who came one a week; ``fields`` come on top."""
    days = [NOW - timedelta(days=500 - 7 * number) for number in range(count)]
    return [
        {"customer_id": f"c{number}", "created_at": day.isoformat(), "updated_at": day.isoformat(), "country": "DE"}
        | fields
        for number, day in enumerate(days)
    ]


def payment(payment_id: str, number: int, moment: datetime) -> Record:
    """A charge of customer ``number`` that was issued and paid at that moment."""
    return {
        "payment_id": payment_id,
        "customer_id": f"c{number}",
        "kind": "charge",
        "status": "succeeded",
        "amount": 20 + number,
        "currency": "EUR",
        "issued_at": moment.isoformat(),
        "paid_at": moment.isoformat(),
        "updated_at": moment.isoformat(),
    }


def payments(count: int = CUSTOMERS, **fields: object) -> list[Record]:
    """A payment a month of every customer, of every third up to half a year ago only."""
    return [
        {**payment(f"p{number}-{month}", number, NOW - timedelta(days=30 * month + number)), **fields}
        for number in range(count)
        for month in range(7 if number % 3 == 0 else 1, 14)
    ]


def write_company(home: Path, slug: str, **entities: Iterable[Record]) -> None:
    """The company's files, as its definition names them; a header alone where there is no record."""
    folder = home / "imports" / slug
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in {"customers": customers(), "payments": payments(), **entities}.items():
        rows = list(records)
        header = rows[0] if rows else (customers(1) if name == "customers" else payments(1))[0]
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(header))
            writer.writeheader()
            writer.writerows(rows)


def write_definitions(home: Path, definitions: Iterable[Mapping[str, Any]]) -> Path:
    """A file of companies that `churn company apply` takes."""
    path = home / "companies.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"companies": [deepcopy(dict(each)) for each in definitions]}))
    return path


def write_lines(home: Path, slug: str, entities: Mapping[str, Iterable[Record]]) -> None:
    """The company's files as JSON lines: of records that hold what CSV cannot."""
    folder = home / "imports" / slug
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in entities.items():
        lines = [json.dumps(record, ensure_ascii=False) for record in records]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
