"""A disk that fills in a stage: told in a sentence; with room the same work then leaves what a clean run does."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.companies import parse_definition
from pipeline.loading.sync import sync_company
from pipeline.prediction.tasks import CONTRACTS
from tests.integration.company_folders import imports
from tests.integration.published import CHURN, Score, at, stage
from tests.integration.warehouse.disks import fill, small_disk
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.registry import add_company
from warehouse.connection import Warehouse
from warehouse.disk_space import MIB, full_disk
from warehouse.migrate import migrate
from warehouse.publication.publish import publish_staged_scores
from warehouse.roles import Role
from warehouse.settings import Settings

CLOCK = Clock(datetime(2026, 3, 1, 6, tzinfo=UTC))
CUSTOMERS = 30_000
DAY = date(2026, 3, 1)
DEFINITION = {
    "slug": "acme",
    "name": "Acme",
    "connector": "files",
    "connector_settings": {"files": {"customers": {"path": "customers.csv"}}},
    "entities": ["customers"],
    "churn_kind": "cancellation",
    "currency": "EUR",
}


@dataclass
class Place:
    """A home with one company, on a disk of its own or on the usual one."""

    settings: Settings
    warehouse: Warehouse
    company: Company

    def sync(self) -> None:
        (result,) = sync_company(self.warehouse, self.company, CLOCK, self.settings)
        assert result.status == "succeeded", result.error

    def stage(self) -> None:
        scores = {f"c{number:06}": Score(0.1 + number / (2 * CUSTOMERS)) for number in range(CUSTOMERS // 3)}
        stage(self.warehouse, self.company.company_id, DAY, scores)

    def publish(self) -> None:
        with self.warehouse.connect(Role.publisher, autocommit=True) as conn:
            publish_staged_scores(conn, CHURN, self.company.company_id, DAY, at(DAY))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.warehouse.connect() as conn:
            return conn.execute(query).fetchall()  # type: ignore[call-overload]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[[Path], Place]]:
    with ExitStack() as servers:

        def make(home: Path) -> Place:
            settings = Settings(home=home, disk_reserve_mb=1)
            with (imports(home) / "customers.csv").open("w", newline="") as file:
                lines = csv.writer(file)
                lines.writerow(["customer_id", "created_at", "updated_at", "country"])
                for number in range(CUSTOMERS):
                    lines.writerow([f"c{number:06}", "2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z", "DE"])
            warehouse = servers.enter_context(Warehouse.open(settings))
            migrate(warehouse, CONTRACTS)
            with warehouse.connect() as conn:
                company = add_company(conn, parse_definition(DEFINITION), "tests")
            return Place(settings, warehouse, company)

        yield make


RAW = """
    select company_id, customer_id, created_at, updated_at, revision, known_at, country
    from raw.customers order by customer_id
"""
PUBLISHED = """
    select company_id, customer_id, as_of_date, churn_probability, risk_level
    from predictions.churn_current order by customer_id
"""
FEED = "select change_id, operation, customer_id, churn_probability from predictions.churn_changes order by 1"


def test_each_stage_on_a_full_disk_stops_in_a_sentence_and_then_leaves_what_a_clean_run_does(
    place: Callable[[Path], Place], tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 260) as disk:
        short, clean = place(disk / "home"), place(tmp_path / "clean")
        for work, results in (("sync", (RAW,)), ("publish", (PUBLISHED, FEED))):
            if work == "publish":
                short.stage()
                clean.stage()
            fill(disk, 2 * MIB)
            with pytest.raises(Exception) as told:  # noqa: PT011 - whichever library hits the end of the disk
                getattr(short, work)()
            sentence = full_disk(told.value, short.settings)
            assert sentence is not None or "is almost full" in str(told.value), repr(told.value)
            (disk / "filler").unlink()
            short.warehouse.revive()
            getattr(short, work)()
            getattr(clean, work)()
            for query in results:
                assert short.rows(query) == clean.rows(query) != []
