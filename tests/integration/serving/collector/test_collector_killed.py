"""A collector or its Postgres is killed in the midst of load: no acknowledged event is lost, and none counts twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from pipeline.companies import parse_definition
from pipeline.prediction.tasks import CONTRACTS
from tests.integration.serving.collector.collector_process import CollectorProcess, collecting
from tests.integration.serving.collector.conftest import Shop, viewed
from warehouse.companies.registry import add_company
from warehouse.companies.write_keys import create_write_key
from warehouse.connection import Warehouse
from warehouse.embedded.server import EmbeddedServer
from warehouse.migrate import migrate

SENDERS = 4
BATCH = 20


@pytest.fixture
def embedded_shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop on an embedded Postgres of its own, which keeps what it says it has kept."""
    home = tmp_path / "home"
    server = EmbeddedServer(home)
    with server.lease():
        warehouse = Warehouse(server.url())
        migrate(warehouse, CONTRACTS)
        definition = {
            "slug": "acme",
            "name": "Acme",
            "connector": "habari_api",
            "currency": "EUR",
            "time_zone": "UTC",
            "churn_kind": "cancellation",
            "horizon_days": 30,
        }
        with warehouse.connect() as conn:
            company = add_company(conn, parse_definition(definition), "tests")
            key = create_write_key(conn, "acme", "web", actor="tests", events_per_second=1_000_000).text
        with (
            psycopg.connect(server.url(database="postgres", superuser=True), autocommit=True) as administrator,
            collecting({"CHURN_HOME": str(home)}, tmp_path / "collector.log") as collector,
        ):
            yield Shop(warehouse, company, collector, key, administrator)


class Senders:
    """Threads that send batches, each again until its answer came, and note what was acknowledged how often."""

    def __init__(self, collector: CollectorProcess, key: str) -> None:
        self._collector = collector
        self._key = key
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(SENDERS)]
        self.acknowledged: dict[str, str] = {}
        self.failures = 0

    def __enter__(self) -> Senders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, events: int) -> None:
        until = time.monotonic() + 60
        while len(self.acknowledged) < events:
            assert time.monotonic() < until, f"{len(self.acknowledged)} of {events}"
            time.sleep(0.01)

    def _send(self, sender: int) -> None:
        batch = 0
        headers = {"Authorization": f"Bearer {self._key}"}
        with httpx.Client(headers=headers, timeout=20) as client:
            while not self._ends.is_set():
                events = [viewed(f"{sender}-{batch}-{number}") for number in range(BATCH)]
                try:
                    answer = client.post(f"{self._collector.url}/v1/batch", json={"batch": events})
                except httpx.HTTPError:
                    self.failures += 1
                    time.sleep(0.02)
                    continue
                if answer.status_code != 200:
                    assert answer.status_code == 503
                    assert int(answer.headers["Retry-After"]) > 0
                    assert {event["verdict"] for event in answer.json()["events"]} == {"retry"}
                    self.failures += 1
                    time.sleep(0.05)
                    continue
                for event in answer.json()["events"]:
                    assert event["verdict"] in ("ok", "duplicate")
                    self.acknowledged[event["messageId"]] = event["verdict"]
                batch += 1


def assert_all_are_kept_once(shop: Shop, senders: Senders) -> None:
    kept = [message_id for (message_id,) in shop.rows("select message_id from raw.tracked_events")]
    assert len(kept) == len(set(kept))
    assert senders.acknowledged.keys() <= set(kept)
    received, loaded, duplicate, rejected, dropped = shop.counts()
    assert (received, loaded, rejected, dropped) == (loaded + duplicate, len(kept), 0, 0)


def test_a_killed_collector_loses_and_doubles_nothing(shop: Shop) -> None:
    with Senders(shop.collector, shop.key) as senders:
        for kills in range(1, 4):
            senders.wait_for(kills * 1_000)
            assert shop.collector.kill() == -signal.SIGKILL
            shop.collector.start()
        senders.wait_for(4_000)
    assert senders.failures
    assert_all_are_kept_once(shop, senders)


def test_a_killed_postgres_comes_back_and_loses_and_doubles_nothing(embedded_shop: Shop, tmp_path: Path) -> None:
    shop = embedded_shop
    with Senders(shop.collector, shop.key) as senders:
        senders.wait_for(1_000)
        # A session that is killed makes the server end all of them and recover.
        ((pid,),) = shop.rows(
            "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            " and backend_type = 'client backend' order by state_change desc limit 1"
        )
        os.kill(pid, signal.SIGKILL)
        senders.wait_for(len(senders.acknowledged) + 1_000)
        postmaster = int(next((tmp_path / "home").rglob("postmaster.pid")).read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        senders.wait_for(len(senders.acknowledged) + 1_000)
    assert senders.failures
    assert_all_are_kept_once(shop, senders)


def test_a_warehouse_that_is_away_is_waited_for(shop: Shop) -> None:
    with shop.warehouse.connect() as conn:
        database = conn.info.dbname
    administrator = shop.administrator
    administrator.execute(f'alter database "{database}" allow_connections false')
    administrator.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [database])
    shop.collector.wait_until_ready(503)
    answer = shop.collector.post("/v1/batch", {"batch": [viewed(1)]}, shop.key)
    assert (answer.status_code, answer.json()["events"]) == (503, [])
    administrator.execute(f'alter database "{database}" allow_connections true')
    shop.collector.wait_until_ready()
    assert shop.send(viewed(1))[0]["verdict"] == "ok"
