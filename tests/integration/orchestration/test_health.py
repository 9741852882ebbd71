"""What the containers' health checks say of services that work, that are silent, and that may not log in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from orchestration import dagster_home, health
from orchestration.health import HEARTBEAT_WITHIN, Unwell
from warehouse.connection import Warehouse
from warehouse.publication.lateness import LATE_AFTER
from warehouse.settings import load_settings


@pytest.fixture
def instance(warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Dagster's own tables in the test's warehouse."""
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url("postgresql"))
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    with dagster_home.instance(load_settings()) as instance:
        yield instance


def beat(instance: dg.DagsterInstance, part: str, ago: timedelta = timedelta()) -> None:
    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - ago.total_seconds(), part, "daemon", []))


def publish(warehouse: Warehouse, ago: timedelta) -> None:
    with warehouse.connect() as connection:
        connection.execute(
            "insert into ops.run_log (stage, started_at, finished_at, status)"
            " values ('publish churn', now() - %(ago)s, now() - %(ago)s, 'succeeded')",
            {"ago": ago},
        )


def test_a_daemon_is_well_while_all_of_its_parts_beat(instance: dg.DagsterInstance) -> None:
    with pytest.raises(Unwell, match="never written"):
        health.daemon()
    for part in ("SENSOR", "SCHEDULER"):
        beat(instance, part)
    health.daemon()
    beat(instance, "SCHEDULER", HEARTBEAT_WITHIN + timedelta(seconds=30))
    with pytest.raises(Unwell, match="is silent: SCHEDULER since"):
        health.daemon()


def test_two_nights_without_scores_are_not_well_and_a_warehouse_that_never_had_any_is(
    instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    beat(instance, "SENSOR")
    health.daemon()
    publish(warehouse, LATE_AFTER + timedelta(minutes=5))
    with pytest.raises(Unwell, match="Nothing was published since"):
        health.daemon()
    publish(warehouse, timedelta(hours=1))
    health.daemon()


def test_a_password_that_was_changed_is_told_and_not_shown(
    instance: dg.DagsterInstance, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat(instance, "SENSOR")
    user, _, place = warehouse.url("postgresql").rpartition("@")
    monkeypatch.setenv("CHURN_DATABASE_URL", f"{user.rpartition(':')[0]}:of-yesterday@{place}")
    with pytest.raises(Unwell, match="password authentication failed") as told:
        health.daemon()
    assert "of-yesterday" not in str(told.value)


def test_services_that_do_not_answer_are_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CODE_SERVER", "127.0.0.1:1")
    monkeypatch.setattr(health, "WEBSERVER", "http://127.0.0.1:1/graphql")
    with pytest.raises(Unwell, match="code server does not answer: UNAVAILABLE"):
        health.code_server()
    with pytest.raises(Unwell, match="webserver does not answer"):
        health.webserver()
