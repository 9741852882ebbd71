"""What Prometheus is told: by the registry's and the logs' rows, with the warehouse there and away."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from orchestration import health
from orchestration.health import Unwell
from pipeline.telling.metrics import WarehouseMetrics
from tests.integration.published import Score, publish
from warehouse.companies.definition import Company
from warehouse.companies.registry import disable_company
from warehouse.connection import Warehouse
from warehouse.settings import Settings

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
Samples = dict[tuple[str, ...], float]


def read(warehouse: Warehouse, home: Path) -> dict[str, Samples]:
    """By metric and the values of its labels, through the text that Prometheus reads."""
    registry = CollectorRegistry()
    registry.register(WarehouseMetrics(warehouse, Settings(home=home, now=NOW, database_url=warehouse.url())))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples} for family in families
    }


def load(warehouse: Warehouse, company: Company, entity: str, ago: timedelta, status: str = "succeeded") -> None:
    with warehouse.connect() as connection:
        connection.execute(
            "insert into ops.load_log (company_id, entity, is_backfill, known_at, status, received, loaded, unchanged,"
            " rejected) values (%s, %s, false, %s, %s, 10, 5, 3, 2)",
            [company.company_id, entity, NOW - ago, status],
        )


def run(warehouse: Warehouse, company: Company, stage: str, status: str) -> None:
    with warehouse.connect() as connection:
        connection.execute(
            "insert into ops.run_log (company_id, stage, started_at, status) values (%s, %s, now(), %s)",
            [company.company_id, stage, status],
        )


def test_ages_counts_and_failures_are_those_of_the_newest(
    warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path
) -> None:
    acme, zeta, _ = (add_company(slug) for slug in ("acme", "zeta", "gone"))
    with warehouse.connect() as connection:
        disable_company(connection, "gone", "tests")
        connection.execute(
            "insert into ml.publication_holds (company_id, task, as_of_date, held_at, reasons, scores, flips)"
            " values (%s, 'churn', '2026-02-28', now(), '[]', 1, 0)",
            [zeta.company_id],
        )
    for day, scores in ((27, {"a": Score(0.1)}), (28, {"a": Score(0.1), "b": Score(0.7)})):
        publish(warehouse, acme.company_id, date(2026, 2, day), scores)
    load(warehouse, acme, "customers", timedelta(hours=30))
    load(warehouse, acme, "customers", timedelta(hours=2))
    load(warehouse, acme, "customers", timedelta(hours=1), "failed")
    for stage, status in (("sync", "failed"), ("sync", "succeeded"), ("score churn", "succeeded")):
        run(warehouse, acme, stage, status)
    run(warehouse, zeta, "sync", "succeeded")
    run(warehouse, zeta, "sync", "failed")
    figures = read(warehouse, tmp_path)
    assert figures["churn_warehouse_up"] == {(): 1}
    assert figures["churn_company"] == {("acme", "active"): 1, ("zeta", "active"): 1, ("gone", "disabled"): 1}
    assert figures["churn_publication_age_seconds"] == {("acme", "churn"): 24 * 3600}
    assert figures["churn_published_scores"] == {("acme", "churn"): 2}
    assert figures["churn_held_dates"] == {("zeta", "churn"): 1}
    assert figures["churn_load_age_seconds"] == {("acme", "customers"): 2 * 3600}
    assert figures["churn_load_records"] == {
        ("acme", "customers", outcome): count
        for outcome, count in (("received", 10), ("new", 5), ("unchanged", 3), ("rejected", 2))
    }
    assert figures["churn_stage_failing"] == {
        ("acme", "sync"): 0,
        ("acme", "score churn"): 0,
        ("zeta", "sync"): 1,
    }
    assert figures["churn_disk_free_bytes"][()] > 0
    assert figures["churn_backup_age_seconds"] == {}


def test_a_warehouse_that_is_away_is_told_of_and_what_is_known_of_the_home_stays(tmp_path: Path) -> None:
    figures = read(Warehouse("postgresql://nobody:x@127.0.0.1:1/nowhere"), tmp_path)
    assert figures["churn_warehouse_up"] == {(): 0}
    assert set(figures) == {"churn_warehouse_up", "churn_disk_free_bytes", "churn_backup_age_seconds"}


def test_the_command_serves_them_and_health_asks_it(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url("postgresql"))
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    address = f"http://127.0.0.1:{port}/metrics"
    monkeypatch.setattr(health, "METRICS", address)
    with pytest.raises(Unwell, match="does not answer"):
        health.metrics()
    command = [str(Path(sys.executable).with_name("churn")), "metrics", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Metrics: http://127.0.0.1:")
        with urllib.request.urlopen(address) as answer:
            assert b"\nchurn_warehouse_up 1.0\n" in answer.read()
        health.metrics()
        begun = time.monotonic()
        process.terminate()
        assert process.wait(timeout=20) == 143
        assert time.monotonic() - begun < 5
    finally:
        process.kill()
        process.communicate()
