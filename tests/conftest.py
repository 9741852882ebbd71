"""Fixtures for everybody: one embedded Postgres per test session, one fresh warehouse per test."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from pipeline.companies import parse_definition
from pipeline.prediction.tasks import CONTRACTS
from warehouse.companies.definition import Company
from warehouse.companies.registry import add_company as register_company
from warehouse.connection import Warehouse
from warehouse.embedded.server import OWNER, SUPERUSER, EmbeddedServer
from warehouse.migrate import migrate
from warehouse.roles import ensure_company_logins, ensure_database_privileges

TEMPLATE = "churn_template"
USUAL_COMPANY_IDS = range(1, 7)

# The same examples on every run, so that a change is not blamed for luck; HYPOTHESIS_PROFILE=explore looks further.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


MEMORY_DISK = Path("/dev/shm")
FREE_BYTES = 8 * 2**30


def pytest_configure() -> None:
    """Work in memory where there is plenty of it: a database per test is created and dropped three times as fast.

    PYTEST_DEBUG_TEMPROOT or --basetemp names another place.
    """
    if MEMORY_DISK.is_dir():
        free = min(shutil.disk_usage(MEMORY_DISK).free, psutil.virtual_memory().available)
        if free >= FREE_BYTES:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_DISK))


LONGEST = (
    "demo",
    "real_input",
    "companies_left_out",
    "wheel",
    "mlflow",
    "two_companies",
    "feature_proof",
    "dbt_incremental",
    "features_proved",
    "dashboards_marts",
    "dbt_feature_version",
    "dbt_rule_of_time",
    "company_runs",
    "dbt_intervals",
    "dbt_staging",
)
"""Groups whose tests one worker runs one after another, those that take the most time first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that no worker is left with it at the end."""

    def place(item: pytest.Item) -> int:
        group = item.get_closest_marker("xdist_group")
        return LONGEST.index(group.args[0]) if group and group.args[0] in LONGEST else len(LONGEST)

    items.sort(key=place)


@dataclass(frozen=True)
class TestServer:
    """The session's embedded server, and how to make and drop databases on it."""

    __test__ = False
    server: EmbeddedServer
    administrator: psycopg.Connection[Any]
    """A superuser's connection, for all of the session."""

    def administer(self) -> psycopg.Connection[Any]:
        """A superuser's connection, to be closed by its user."""
        return _superuser(self.server)

    @contextmanager
    def database(self, template: str) -> Iterator[str]:
        """A database of the owner's, cloned from a template and dropped at the end; yields its URL."""
        name = f"test_{secrets.token_hex(6)}"
        self.administrator.execute(
            sql.SQL("create database {} template {} owner {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(template), sql.Identifier(OWNER)
            )
        )
        # As docker/create-databases.sh leaves the warehouse's: who may enter it is granted to each.
        self.administrator.execute(sql.SQL("revoke connect on database {} from public").format(sql.Identifier(name)))
        try:
            yield self.server.url(database=name)
        finally:
            self.administrator.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _superuser(server: EmbeddedServer) -> psycopg.Connection[Any]:
    return psycopg.connect(server.url(database="postgres", superuser=True), autocommit=True)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see no CHURN_ variable but those that they set, and may reach the stand-ins on this machine."""
    for name in [name for name in os.environ if name.startswith("CHURN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CHURN_PRIVATE_SOURCES", "127.0.0.0/8")


@pytest.fixture(scope="session")
def postgres_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Home folder of a running embedded server, shared by all workers of the session.

    Each worker holds a lease, so the last one stops it. Its data need not outlive a
    power cut: fsync is off. Nobody guesses its passwords: they are hashed once and not 4,096 times.
    """
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "churn-home"
    server = EmbeddedServer(home)
    with server.lease():
        with _superuser(server) as connection:
            connection.execute("select pg_advisory_lock(1)")
            connection.execute("alter system set fsync = off")
            connection.execute("alter system set scram_iterations = 1")
            connection.execute("select pg_reload_conf()")
            connection.execute("set scram_iterations = 1")
            for user in (OWNER, SUPERUSER):
                password = make_url(server.url(superuser=user == SUPERUSER)).password
                connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(user), password))
        yield server.home
    if server.status().state == "stopped":
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(postgres_home: Path) -> Iterator[TestServer]:
    """The session's server."""
    server = EmbeddedServer(postgres_home)
    with _superuser(server) as administrator:
        yield TestServer(server, administrator)


@pytest.fixture(scope="session")
def template_database(postgres: TestServer) -> str:
    """Name of a migrated, empty database to clone; built once, by the worker that comes first."""
    with postgres.administer() as connection:
        connection.execute("select pg_advisory_lock(1)")
        query = "select from pg_database where datname = %s"
        if connection.execute(query, (TEMPLATE,)).fetchone() is None:
            unfinished = f"{TEMPLATE}_unfinished"
            connection.execute(
                sql.SQL("create database {} owner {}").format(sql.Identifier(unfinished), sql.Identifier(OWNER))
            )
            postgres.server.keep_shared_means_for_owner(unfinished)
            warehouse = Warehouse(postgres.server.url(database=unfinished))
            migrate(warehouse, CONTRACTS)
            with warehouse.connect() as conn:
                # Roles are the server's: two workers that make the same one at once stand in each other's way.
                for company_id in USUAL_COMPANY_IDS:
                    ensure_company_logins(conn, company_id)
            connection.execute(
                sql.SQL("alter database {} rename to {}").format(sql.Identifier(unfinished), sql.Identifier(TEMPLATE))
            )
    return TEMPLATE


@pytest.fixture
def empty_database(postgres: TestServer) -> Iterator[Warehouse]:
    """A warehouse that was never migrated."""
    with postgres.database("template1") as url:
        yield Warehouse(url)


@pytest.fixture
def warehouse(postgres: TestServer, template_database: str) -> Iterator[Warehouse]:
    """A migrated, empty warehouse of the test's own."""
    with postgres.database(template_database) as url:
        fresh = Warehouse(url)
        with fresh.connect() as connection:
            ensure_database_privileges(connection)
        yield fresh


@pytest.fixture
def add_company(warehouse: Warehouse) -> Callable[..., Company]:
    """Registers a company in the test's warehouse: `add_company("acme", churn_kind="inactivity", ...)`.

    What is not given is a SaaS firm's; names are those of CompanyDefinition.
    """

    def add(slug: str = "acme", **fields: Any) -> Company:
        defaults: dict[str, Any] = {
            "slug": slug,
            "name": slug.title(),
            "connector": "habari_api",
            "currency": "EUR",
            "time_zone": "Europe/Berlin",
        }
        if "churn" not in fields.get("tasks", {}):
            defaults |= {"churn_kind": "cancellation", "horizon_days": 30}
        with warehouse.connect() as connection:
            return register_company(connection, parse_definition(defaults | fields), "tests")

    return add
