"""Companies in a real run: secrets stay secret, one that fails stops nobody, a new one needs no restart."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from cryptography.fernet import Fernet
from psycopg import sql
from sqlalchemy import make_url

from orchestration.automation import sync_hourly
from orchestration.resources import WarehouseResource
from pipeline.companies import parse_definition
from tests.conftest import TestServer
from tests.integration.company_folders import put_secret
from tests.integration.dbt_project.dbt_runs import PROJECT, DbtRuns, warehouse_for_a_module
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, StandIn, crm, refusal
from warehouse.companies.definition import Company
from warehouse.companies.registry import add_company, disable_company
from warehouse.connection import Warehouse
from warehouse.embedded.server import EmbeddedServer
from warehouse.secrets import encrypt_secret
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("company_runs")

ROOT = Path(__file__).parents[3]
FAILING = {"echo", "newline", "no_answer", "wrong_password"}
CUSTOMER = {"id": "c1", "created_at": "2025-01-01", "updated_at": "2025-01-05T00:00:00Z"}


def planted(number: int) -> str:
    """Text that stands nowhere by chance."""
    return f"planted{number}x{secrets.token_hex(12)}"


@dataclass
class Run:
    """One `churn sync` over companies that fail and companies that do not, and where its traces are."""

    warehouse: Warehouse
    home: Path
    stand_in: StandIn
    planted: list[str]
    done: subprocess.CompletedProcess[str]

    def ask(self, query: str) -> list[tuple[object, ...]]:
        with self.warehouse.connect() as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def run(postgres: TestServer, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    home = tmp_path_factory.mktemp("runs")
    reader, key = f"reader_{secrets.token_hex(6)}", Fernet.generate_key().decode()
    hidden = [API_KEY, *map(planted, range(5)), key]
    right_password, wrong_password, echoed, split, unanswered = hidden[1:6]

    def misbehave(path: str, _: dict[str, str], __: int) -> tuple[int, dict[str, str], bytes] | None:
        return refusal(401, f"unknown API key {echoed}") if "/echo" in path else None

    with (
        warehouse_for_a_module(postgres, template_database) as warehouse,
        crm({"customers": [CUSTOMER]}) as stand_in,
        _database_source(tmp_path_factory.mktemp("crm"), reader, right_password) as place,
    ):
        stand_in.misbehave = misbehave
        put_secret(home, "good_file", "key", API_KEY)
        put_secret(home, "newline", "key", f"{split}\nsecond-line-{split}")
        right = f"postgresql+psycopg://{reader}:{right_password}@{place}"
        environment = {
            "CHURN_SOURCE_GOOD_DATABASE__URL": right,
            "CHURN_SOURCE_GOOD_TWICE__URL": right,
            "CHURN_SOURCE_WRONG_PASSWORD__URL": f"postgresql+psycopg://{reader}:{wrong_password}@{place}",
            "CHURN_SOURCE_NO_ANSWER__URL": f"postgresql+psycopg://{reader}:{unanswered}@127.0.0.1:1/nowhere",
        }
        settings = Settings(secret_key=key)
        encrypted = encrypt_secret(echoed, settings, "echo")
        references = {"good_file": "file:key"} | {
            slug: encrypt_secret(API_KEY, settings, slug) for slug in ("good_encrypted", "asleep")
        }
        with warehouse.connect() as connection:
            for slug, reference in references.items():
                _register(connection, slug, "habari_api", {"base_url": stand_in.url, "api_key": reference})
            _register(connection, "newline", "habari_api", {"base_url": stand_in.url, "api_key": "file:key"})
            _register(connection, "echo", "habari_api", {"base_url": f"{stand_in.url}/echo", "api_key": encrypted})
            for slug in ("good_database", "good_twice", "wrong_password", "no_answer"):
                variable = f"CHURN_SOURCE_{slug.upper()}__URL"
                tables = {"customers": {"schema": "public", "table": "customers"}}
                _register(connection, slug, "sql_database", {"url": f"env:{variable}", "tables": tables})
            connection.execute(
                "insert into raw.customers (company_id, customer_id, updated_at, known_at, is_backfill, is_deleted,"
                " load_id) select company_id, 'old', now(), now(), true, false, 0 from ops.companies"
                " where slug = 'asleep'"
            )
            disable_company(connection, "asleep", "tests")
        # What it parses when it begins, at ten seconds; a first run without it is the demo's.
        warehouse.write_dbt_profile(home / "dbt")
        DbtRuns(PROJECT, home / "dbt").parse()
        outside = {name: value for name, value in os.environ.items() if not name.startswith("CHURN_")}
        ours = {"CHURN_HOME": str(home), "CHURN_DATABASE_URL": warehouse.url("postgresql"), "CHURN_SECRET_KEY": key}
        done = subprocess.run(
            [str(Path(sys.executable).with_name("churn")), "sync"],
            cwd=ROOT,
            env={
                **outside,
                **environment,
                **ours,
                "CHURN_LOG_LEVEL": "debug",
                "CHURN_PRIVATE_SOURCES": "127.0.0.0/8",
                "COLUMNS": "200",
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        yield Run(warehouse, home, stand_in, hidden, done)


@contextmanager
def _database_source(home: Path, reader: str, password: str) -> Iterator[str]:
    """A company's own server with a customer in it, and a login that may read it; yields host:port/database."""
    with EmbeddedServer(home).lease() as server:
        url = make_url(server.url())
        with psycopg.connect(server.url(superuser=True), autocommit=True) as connection:
            name = sql.Identifier(reader)
            connection.execute(sql.SQL("create role {} login password {}").format(name, sql.Literal(password)))
            connection.execute(
                "create table customers as select 'c9' as customer_id,"
                " timestamptz '2025-01-05' as updated_at, timestamptz '2025-01-01' as created_at"
            )
            connection.execute(sql.SQL("grant select on customers to {}").format(name))
        yield f"{url.host}:{url.port}/{url.database}"


def _register(connection: psycopg.Connection, slug: str, connector: str, settings: dict[str, object]) -> None:
    definition = {
        "slug": slug,
        "name": slug,
        "connector": connector,
        "connector_settings": settings,
        "entities": ["customers"],
        "churn_kind": "cancellation",
        "currency": "EUR",
    }
    add_company(connection, parse_definition(definition), "tests")


def test_those_that_fail_are_named_with_a_remedy_and_stop_nobody(run: Run) -> None:
    assert run.done.returncode == 1, run.done.stdout + run.done.stderr
    statuses = run.ask("select slug, status from ops.run_log inner join ops.companies using (company_id)")
    assert {slug for slug, status in statuses if status == "failed"} == FAILING, run.done.stderr
    assert {slug for slug, status in statuses if status == "succeeded"} == {
        "good_file",
        "good_encrypted",
        "good_database",
        "good_twice",
    }
    loaded = run.ask("select slug from raw.customers inner join ops.companies using (company_id) where load_id > 0")
    assert {slug for (slug,) in loaded} == {"good_file", "good_encrypted", "good_database", "good_twice"}
    for slug in FAILING:
        assert run.done.stderr.count(f"{slug} · sync") == 1
    assert "@127.0.0.1:1/nowhere: it cannot be read" in run.done.stderr
    assert "`churn company check no_answer`" in run.done.stderr


def test_the_run_stands_at_its_job_in_the_ui(run: Run) -> None:
    location = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dagster"]["code_location_name"]
    label = "select value from dagster.run_tags where key = '.dagster/repository'"
    assert run.ask(label) == [(f"__repository__@{location}",)]


def test_what_all_companies_came_to_stands_at_every_companys_materialization(run: Run) -> None:
    events = run.ask(
        "select event::json #>> '{dagster_event,event_specific_data,materialization}' from dagster.event_logs"
        " where dagster_event_type = 'ASSET_MATERIALIZATION' and asset_key = '[\"raw\", \"customers\"]'"
    )
    assert len(events) == 8
    for (event,) in events:
        assert "8 companies in" in str(event)
        assert f"failed: {', '.join(sorted(FAILING))}" in str(event)


def test_one_that_is_disabled_is_not_read_and_keeps_its_history(run: Run) -> None:
    history = "select count(*) from raw.customers inner join ops.companies using (company_id) where slug = 'asleep'"
    assert run.ask(history) == [(1,)]
    loads = "select count(*) from ops.load_log inner join ops.companies using (company_id) where slug = 'asleep'"
    assert run.ask(loads) == [(0,)]


def test_no_secret_is_in_any_table_any_file_or_anything_printed(run: Run) -> None:
    looked_in = 0
    anything_planted = "|".join(text for secret in run.planted for text in (secret, secret.encode().hex()))
    with run.warehouse.connect() as connection:
        for schema, table in run.ask(
            "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
        ):
            leaks = connection.execute(
                sql.SQL("select substring(held::text from %s) from {} as held where held::text ~ %s").format(
                    sql.Identifier(str(schema), str(table))
                ),
                (anything_planted, anything_planted),
            ).fetchall()
            assert leaks == [], f"{schema}.{table}"
            looked_in += 1
    assert looked_in > 30
    assert run.ask("select count(*) > 0 from dagster.event_logs") == [(True,)]
    files = [path for path in run.home.rglob("*") if path.is_file() and run.home / "secrets" not in path.parents]
    assert any(path.name == "run.log" for path in files)
    for path in files:
        content = path.read_bytes()
        for secret in run.planted:
            assert secret.encode() not in content, f"{path} holds planted secret {run.planted.index(secret)}"
    for secret in run.planted:
        assert secret not in run.done.stdout + run.done.stderr


def test_a_new_company_is_in_the_next_run_without_a_restart_and_a_disabled_one_is_not(
    warehouse: Warehouse, add_company: Callable[..., Company], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url("postgresql"))
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))

    with dg.instance_for_test() as instance:

        def next_run() -> tuple[object, list[str]]:
            resources = {"warehouse": WarehouseResource()}
            with dg.build_schedule_context(instance=instance, resources=resources) as context:
                return sync_hourly(context), list(instance.get_dynamic_partitions("company"))

        skipped, none = next_run()
        assert isinstance(skipped, dg.SkipReason)
        assert none == []
        add_company("first")
        assert next_run()[1] == ["first"]
        add_company("second")
        request, slugs = next_run()
        assert slugs == ["first", "second"]
        assert isinstance(request, dg.RunRequest)
        assert {"first", "second"} <= set(request.tags.values())
        with warehouse.connect() as connection:
            disable_company(connection, "first", "tests")
        assert next_run()[1] == ["second"]
