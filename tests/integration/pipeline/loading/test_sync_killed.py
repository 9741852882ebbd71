"""kill -9 at any moment of a sync, then again: exactly the rows of an undisturbed one."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.loading.sync import sync_company
from tests.integration.company_folders import put_secret
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, StandIn, crm, payment
from tests.integration.processes import started
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.registry import get_company
from warehouse.connection import Warehouse
from warehouse.settings import Settings

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
RECORDS = 1200
KILLS = 3


def sync(url: str, home: Path, slug: str) -> None:
    """In a process of its own."""
    warehouse = Warehouse(url)
    with warehouse.connect() as connection:
        company = get_company(connection, slug)
    sync_company(warehouse, company, Clock(NOW), Settings(home=home), ["payments"], chunk_rows=100)


def records() -> list[dict[str, Any]]:
    """Payments with many ties on updated_at, hours apart (no overlap hides a loss), some deleted, some bad."""
    start = datetime(2025, 2, 1, tzinfo=UTC)
    made = []
    for number in range(RECORDS):
        moment = f"{start + timedelta(hours=number // 70):%Y-%m-%dT%H:%M:%SZ}"
        record = payment(number, moment)
        if number % 50 == 0:
            record = {"id": f"p{number}", "updated_at": moment, "deleted": True}
        if number % 97 == 1:
            record["amount"] = "?"
        made.append(record)
    return made


def answer_slowly(*_: object) -> None:
    """So that on a fast machine, too, a page is still awaited when the kill comes."""
    time.sleep(0.02)


def versions(warehouse: Warehouse, company: Company) -> list[tuple[Any, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(
            "select payment_id, updated_at, known_at, is_backfill, is_deleted, amount, attributes, null"
            " from raw.payments where company_id = %(id)s union all"
            " select record_id, null, null, null, null, null, payload, reason from raw.rejected_records"
            " where company_id = %(id)s order by 1, 2",
            {"id": company.company_id},
        ).fetchall()


def sync_and_kill(
    warehouse: Warehouse, home: Path, company: Company, stand_in: StandIn, requests: int, wait: float
) -> bool:
    """Sync in a process of its own, and kill it `wait` seconds after so many requests; True when it was."""
    reached = len(stand_in.requests) + requests
    with started(sync, warehouse.url("postgresql"), home, company.slug) as process:
        while len(stand_in.requests) < reached and process.is_alive():
            time.sleep(0.002)
        time.sleep(wait)
        process.kill()
        process.join()
        return process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("seed", [1, 2])
def test_whenever_a_sync_is_killed_the_next_one_completes_it_exactly(
    warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    for slug in ("calm", "stormy"):
        put_secret(tmp_path, slug, "key", API_KEY)
    settings = Settings(home=tmp_path)
    with crm({"payments": records()}) as stand_in:
        connector = {"base_url": stand_in.url, "api_key": "file:key", "page_size": 50}
        undisturbed, disturbed = (add_company(slug, connector_settings=connector) for slug in ("calm", "stormy"))
        (calm,) = sync_company(warehouse, undisturbed, Clock(NOW), settings, ["payments"], chunk_rows=100)
        stand_in.misbehave = answer_slowly
        killed = [
            sync_and_kill(warehouse, tmp_path, disturbed, stand_in, chance.randint(4, 9), chance.uniform(0, 0.05))
            for _ in range(KILLS)
        ]
        (last,) = sync_company(warehouse, disturbed, Clock(NOW), settings, ["payments"], chunk_rows=100)
    assert killed == [True] * KILLS
    assert "updated_since" in stand_in.asked("payments")[-1], "no kill left a cursor to go on from"
    assert calm.loaded + calm.rejected == RECORDS
    assert (last.status, last.is_backfill, last.unaccounted) == ("succeeded", True, 0)
    assert versions(warehouse, disturbed) == versions(warehouse, undisturbed)
