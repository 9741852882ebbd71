"""Dagster's own history in the warehouse's Postgres, while that goes away and comes back."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from dagster import DagsterRun

from orchestration import dagster_home
from pipeline.prediction.tasks import CONTRACTS
from tests.integration.warehouse.embedded.processes import kill
from warehouse.connection import Warehouse
from warehouse.embedded.server import EmbeddedServer
from warehouse.migrate import migrate
from warehouse.settings import Settings


def test_events_wait_for_a_postgres_that_is_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedServer(tmp_path / "server")
    with server.lease():
        migrate(Warehouse(server.url()), CONTRACTS)
        monkeypatch.setenv("CHURN_DATABASE_URL", server.url())
        settings = Settings(home=tmp_path / "home", database_url=server.url())
        with dagster_home.instance(settings) as instance:
            instance.add_dynamic_partitions("company", ["acme"])
            pid = server.status().pid
            assert pid is not None
            kill(pid)
            restarted = threading.Timer(9, server.start)
            restarted.start()
            begun = time.monotonic()
            # Dagster's own tries end after six seconds.
            assert instance.get_dynamic_partitions("company") == ["acme"]
            assert time.monotonic() - begun > 7
            restarted.join()


def test_the_webservers_connections_outlive_a_postgres_that_is_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedServer(tmp_path / "server")
    with server.lease():
        migrate(Warehouse(server.url()), CONTRACTS)
        monkeypatch.setenv("CHURN_DATABASE_URL", server.url())
        settings = Settings(home=tmp_path / "home", database_url=server.url())
        with dagster_home.instance(settings) as instance:
            instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3600, max_overflow=20)
            assert [*instance.get_runs(), *instance.get_asset_keys(), *instance.all_instigator_state()] == []
            pid = server.status().pid
            assert pid is not None
            kill(pid)
            server.start()
            for _ in range(2):
                assert instance.get_runs() == []
                assert instance.get_asset_keys() == []
                assert instance.all_instigator_state() == []
            run = DagsterRun(job_name="sync")
            assert instance.add_run(run).run_id == run.run_id
