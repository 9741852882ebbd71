"""Canaries: a marked customer outside its company raises the alarm, wherever it stands."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from typer.testing import CliRunner

from orchestration.cli import main as cli
from orchestration.cli import terminal
from orchestration.defs.canaries import canaries as canaries_asset
from orchestration.resources import WarehouseResource
from pipeline.integrations.notifications.facts import alerts_of_the_warehouse
from pipeline.prediction.tasks import CUSTOMER_TASKS
from pipeline.watching.canaries import look_round
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.privacy.canaries import mark_customers, read_canaries
from warehouse.privacy.erasure import forget_customer
from warehouse.settings import Settings

PERSON = "Zoë O'Person (acme)"
ID = "acme-000017"


@pytest.fixture
def companies(warehouse: Warehouse, add_company: Callable[..., Company]) -> list[Company]:
    """Two companies with a customer each that can be told, and a third whose customers cannot."""
    registered = [add_company(slug) for slug in ("acme", "other", "shorty")]
    with warehouse.connect() as conn:
        customer(conn, registered[0], ID, PERSON)
        customer(conn, registered[1], "other-00099", "Somebody Else")
        customer(conn, registered[2], "c1", None)
    return registered


@pytest.fixture
def home(warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url("postgresql"))
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    return tmp_path


def customer(conn: psycopg.Connection[Any], company: Company, customer_id: str, name: str | None) -> None:
    conn.execute(
        "insert into raw.customers (company_id, customer_id, name, updated_at, known_at, is_backfill, is_deleted,"
        " load_id) values (%s, %s, %s, now(), now(), false, false, 1)",
        [company.company_id, customer_id, name],
    )


def alarms(warehouse: Warehouse, home: Path) -> list[str]:
    return look_round(Settings(home=home), warehouse).alarms


def test_at_home_nobody_is_alarmed_and_who_cannot_be_told_is_named(
    warehouse: Warehouse, companies: list[Company], home: Path
) -> None:
    watched = look_round(Settings(home=home), warehouse)
    assert (watched.alarms, watched.canaries, watched.unmarked) == ([], 2, ["shorty"])


def test_what_two_companies_have_marks_neither(warehouse: Warehouse, companies: list[Company]) -> None:
    with warehouse.connect() as conn:
        customer(conn, companies[1], "shared-0001", PERSON)
        mark_customers(conn)
        marks = {canary.slug: canary.marks for canary in read_canaries(conn) if canary.slug == "acme"}
    assert marks == {"acme": (ID,)}


def told_to_operators(warehouse: Warehouse) -> list[str]:
    with warehouse.connect() as conn:
        return [alert.sentence for alert in alerts_of_the_warehouse(conn, Clock(None))]


TABLES = [
    "insert into predictions.churn_cursors_v1 (company_id, newest_cursor) values ({other}, 1);"
    "create table analytics.planted as select {other} as company_id, '{id}' as customer_id",
    "create table features.planted as select {other} as company_id, jsonb_build_object('who', '{name}') as reasons",
    "insert into raw.rejected_records (company_id, entity, load_id, reason, payload, payload_hash)"
    " values ({other}, 'customers', 1, 'about {id}: no', '{{}}', 'x')",
    "create table ml.planted as select {other} as company_id, array['{name}'] as names",
    "insert into ops.run_log (stage, started_at, status, error) values ('x', now(), 'failed', 'at {id}')",
    'create table dagster.event_logs as select \'{{"metadata": "{id}"}}\'::text as event',
    "create table mlflow.tags as select '{name}'::varchar as value",
    "create materialized view staging.planted as select {other} as company_id, '{id}'::text as customer_id",
]


@pytest.mark.parametrize("planting", TABLES)
def test_a_row_outside_the_company_is_seen_in_every_schema(
    warehouse: Warehouse, companies: list[Company], home: Path, planting: str
) -> None:
    assert alarms(warehouse, home) == []
    with warehouse.connect() as conn:
        name = PERSON.replace("'", "''")
        conn.execute(planting.format(other=companies[1].company_id, id=ID, name=name))  # type: ignore[call-overload]
    (alarm,) = alarms(warehouse, home)
    assert alarm.startswith("canary of acme: 1 in ")


def _zip(path: Path, text: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.json", text)


FILES: list[tuple[str, Callable[[Path, str], object]]] = [
    ("mlflow/1/artifacts/model/training.json", lambda path, text: path.write_text(f'{{"sample": "{text}"}}')),
    ("mlflow/1/artifacts/sample.parquet", lambda path, text: parquet.write_table(pa.table({"who": [text]}), path)),
    ("mlflow/1/artifacts/model.zip", _zip),
    ("logs/dbt.log", lambda path, text: path.write_bytes(b"x" * 9_000_000 + f" {text} failed".encode())),
    ("dagster/storage/run.db", lambda path, text: path.write_bytes(b"\x00\x01" + text.encode() + b"\x00")),
    ("dagster/logs/compute.err.gz", lambda path, text: path.write_bytes(gzip.compress(text.encode()))),
    ("postgres.log", lambda path, text: path.write_text(f"STATEMENT: select '{text}'")),
]


@pytest.mark.parametrize(("place", "write"), FILES, ids=[place for place, _ in FILES])
def test_a_mark_in_a_models_file_a_log_or_a_runs_record_is_seen(
    warehouse: Warehouse, companies: list[Company], home: Path, place: str, write: Callable[[Path, str], object]
) -> None:
    path = home / place
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, f"{ID}0 is nobody")
    assert alarms(warehouse, home) == []
    for mark in (ID, PERSON):
        write(path, mark)
        assert alarms(warehouse, home) == [f"canary of acme: 1 in {place}"]


def test_a_companys_own_folder_is_its_own_place(warehouse: Warehouse, companies: list[Company], home: Path) -> None:
    for folder in ("acme", "other"):
        (home / "reports" / folder).mkdir(parents=True)
        (home / "reports" / folder / "weekly.html").write_text(f"<td>{ID}</td>")
    assert alarms(warehouse, home) == ["canary of acme: 1 in reports/other/weekly.html"]


def test_the_command_and_the_scheduled_check_raise_the_alarm(
    warehouse: Warehouse, companies: list[Company], home: Path
) -> None:
    quiet = CliRunner().invoke(cli.app, ["canaries", "check"])
    assert quiet.exit_code == 0, quiet.output
    assert "2 canaries, none of them outside" in quiet.output
    (home / "some.log").write_text(ID)
    loud = CliRunner().invoke(cli.app, ["canaries", "check"])
    assert isinstance(loud.exception, terminal.CommandFailed)
    assert "acme: 1 in some.log" in str(loud.exception)
    result = dg.materialize([canaries_asset], resources={"warehouse": WarehouseResource()})
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert check.description == "canary of acme: 1 in some.log"
    assert told_to_operators(warehouse) == ["canaries: canary of acme: 1 in some.log"]
    (home / "some.log").unlink()
    dg.materialize([canaries_asset], resources={"warehouse": WarehouseResource()})
    assert told_to_operators(warehouse) == []


def test_a_forgotten_canary_is_one_no_more(warehouse: Warehouse, companies: list[Company], home: Path) -> None:
    acme = companies[0]
    assert alarms(warehouse, home) == []
    with warehouse.connect() as conn:
        now = conn.execute("select now()").fetchone()
    assert now
    forget_customer(warehouse, CUSTOMER_TASKS, acme, ID, actor="tests", now=now[0], next_training=now[0])
    with warehouse.connect() as conn:
        assert ID not in [canary.customer_id for canary in read_canaries(conn)]
        customer(conn, acme, ID, None)
    assert "forgotten customers: 1 row in raw.customers" in alarms(warehouse, home)
