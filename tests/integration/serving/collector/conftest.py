"""What the tests of the collector share: one process, a company and its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import TestServer
from tests.integration.serving.collector.collector_process import CollectorProcess, collecting
from warehouse.companies.definition import Company
from warehouse.companies.write_keys import create_write_key
from warehouse.connection import Warehouse


@dataclass
class Shop:
    """A company with a write key, and the collector that takes its events."""

    warehouse: Warehouse
    company: Company
    collector: CollectorProcess
    key: str
    administrator: psycopg.Connection[Any]

    def another_key(self, **allowed: Any) -> str:
        with self.warehouse.connect() as conn:
            return create_write_key(conn, self.company.slug, "web", actor="tests", **allowed).text

    def send(self, *events: Any, key: str | None = None) -> list[dict[str, Any]]:
        """The verdicts on a batch."""
        answer = self.collector.post("/v1/batch", {"batch": list(events)}, key or self.key)
        assert answer.status_code in (200, 422), answer.text
        return list(answer.json()["events"])

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.warehouse.connect() as conn:
            return conn.execute(query, values).fetchall()  # type: ignore[arg-type]

    def counts(self) -> tuple[int, ...]:
        """received, loaded, duplicate, rejected, dropped, of the company so far."""
        (row,) = self.rows(
            "select coalesce(sum(received), 0), coalesce(sum(loaded), 0), coalesce(sum(duplicate), 0),"
            " coalesce(sum(rejected), 0), coalesce(sum(dropped), 0) from ops.collected_events where company_id = %s",
            self.company.company_id,
        )
        return tuple(map(int, row))


def viewed(number: int | str, **fields: Any) -> dict[str, Any]:
    """An event that keeps the contract."""
    return {"type": "track", "messageId": f"m{number}", "event": "Product Viewed", "anonymousId": "a1"} | fields


@pytest.fixture
def shop(
    postgres: TestServer, warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path
) -> Iterator[Shop]:
    company = add_company("acme")
    with warehouse.connect() as conn:
        key = create_write_key(conn, "acme", "web", actor="tests", events_per_second=100_000).text
    environment = {"CHURN_DATABASE_URL": warehouse.url("postgresql"), "CHURN_HOME": str(tmp_path / "home")}
    with collecting(environment, tmp_path / "collector.log") as collector:
        yield Shop(warehouse, company, collector, key, postgres.administrator)
