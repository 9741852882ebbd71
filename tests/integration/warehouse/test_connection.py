"""Connections: roles, ADBC, the schema's URL, and what is said when there is none."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import create_engine

from tests.conftest import TestServer
from warehouse.connection import Warehouse
from warehouse.embedded import binaries
from warehouse.embedded.server import EmbeddedServer
from warehouse.errors import MigrationError, UnsupportedServer, WarehouseUnreachable
from warehouse.migrate import migrate, newest_revision
from warehouse.roles import Role
from warehouse.settings import Settings


@pytest.mark.parametrize("role", [None, *Role])
def test_a_connection_has_the_asked_role_and_utc(warehouse: Warehouse, role: Role | None) -> None:
    with warehouse.connect(role) as connection:
        row = connection.execute(
            "select current_user, session_user, current_setting('timezone'), current_setting('application_name')"
        ).fetchone()
    assert row == (role or "churn_owner", "churn_owner", "UTC", "churn-warehouse")


def test_adbc_has_the_asked_role(warehouse: Warehouse) -> None:
    with warehouse.adbc(Role.ml) as connection, connection.cursor() as cursor:
        cursor.execute("select current_user::text as role")
        assert cursor.fetch_arrow_table().to_pylist() == [{"role": "churn_ml"}]


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "postgresql+psycopg2"])
def test_a_schemas_url_makes_tables_in_that_schema(warehouse: Warehouse, driver: str) -> None:
    engine = create_engine(warehouse.url(driver, schema="mlflow"))
    with engine.begin() as connection:
        connection.exec_driver_sql("create table experiments (id int)")
    engine.dispose()
    with warehouse.connect() as connection:
        row = connection.execute("select to_regclass('mlflow.experiments')::text").fetchone()
    assert row == ("mlflow.experiments",)


def test_settings_without_a_database_open_the_embedded_server(postgres: TestServer) -> None:
    with Warehouse.open(Settings(home=postgres.server.home)) as warehouse, warehouse.connect() as connection:
        assert connection.execute("select current_database()").fetchone() == ("churn",)


def test_a_given_database_is_used_and_migrated_as_it_stands(empty_database: Warehouse, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=SecretStr(empty_database.url("postgresql")))
    with Warehouse.open(settings) as warehouse:
        migrate(warehouse)
        with warehouse.connect(Role.operator) as connection:
            assert connection.execute("select count(*) from ops.companies").fetchone() == (0,)
    assert EmbeddedServer(tmp_path).status().state == "not created"


def test_an_unreachable_database_is_named_without_its_password(tmp_path: Path) -> None:
    url = SecretStr("postgresql://me:hunter2@127.0.0.1:1/churn")
    with (
        pytest.raises(WarehouseUnreachable, match=r"127\.0\.0\.1:1/churn") as caught,
        Warehouse.open(Settings(home=tmp_path, database_url=url)),
    ):
        pass
    assert "hunter2" not in str(caught.value)
    with pytest.raises(WarehouseUnreachable) as caught:
        Warehouse(url).adbc()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("door", ["connect", "adbc"])
def test_a_server_that_takes_a_connection_and_never_answers_is_unreachable_after_the_time_that_the_address_gives(
    door: str,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        warehouse = Warehouse(f"postgresql://me:hunter2@127.0.0.1:{port}/churn?connect_timeout=2")
        began = time.monotonic()
        with pytest.raises(WarehouseUnreachable, match=rf"127\.0\.0\.1:{port}/churn.*timeout expired"):
            getattr(warehouse, door)()
        assert time.monotonic() - began < 8


def test_an_address_that_gives_no_time_waits_ten_seconds_and_not_for_ever(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        assert "connect_timeout=10" in connection.info.dsn


@pytest.fixture
def stranger(postgres: TestServer) -> Iterator[str]:
    """A login (its password is its name) that may do nothing."""
    name = f"test_{secrets.token_hex(6)}"
    with postgres.administer() as connection:
        connection.execute(sql.SQL("create role {} login password {}").format(sql.Identifier(name), sql.Literal(name)))
        yield name
        connection.execute(sql.SQL("drop owned by {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def url_of(warehouse: Warehouse, stranger: str) -> str:
    return f"postgresql://{stranger}:{stranger}@{warehouse.place}"


def let_in(postgres: TestServer, warehouse: Warehouse, user: str) -> None:
    """Databases are closed to public."""
    database = sql.Identifier(warehouse.place.rpartition("/")[2])
    with postgres.administer() as connection:
        connection.execute(sql.SQL("grant connect on database {} to {}").format(database, sql.Identifier(user)))


def test_a_user_who_may_not_create_roles_or_schemas_is_told_the_statement_that_helps(
    postgres: TestServer, empty_database: Warehouse, stranger: str
) -> None:
    warehouse = Warehouse(url_of(empty_database, stranger))
    let_in(postgres, empty_database, stranger)
    with pytest.raises(UnsupportedServer, match=f"alter role {stranger} createrole"):
        warehouse.check_server()
    with postgres.administer() as connection:
        connection.execute(sql.SQL("alter role {} createrole").format(sql.Identifier(stranger)))
    with pytest.raises(UnsupportedServer, match=rf"grant create on database \w+ to {stranger}"):
        warehouse.check_server()


def test_roles_of_another_owner_are_an_error_that_says_what_to_grant(
    postgres: TestServer, warehouse: Warehouse, stranger: str
) -> None:
    let_in(postgres, warehouse, stranger)
    with postgres.administer() as connection:
        connection.execute(sql.SQL("alter role {} createrole").format(sql.Identifier(stranger)))
    database = warehouse.place.rpartition("/")[2]
    with psycopg.connect(postgres.server.url(database=database, superuser=True)) as connection:
        connection.execute("grant execute on function pg_advisory_xact_lock(bigint) to public")
    with pytest.raises(MigrationError, match=r"grant churn_loader to .* with admin option"):
        migrate(Warehouse(url_of(warehouse, stranger)))


def test_a_postgres_that_is_too_old_is_named_with_its_version(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.connection.OLDEST_VERSION", 99)
    with pytest.raises(UnsupportedServer, match=r"is version 18; Churn Warehouse needs 99 or later"):
        warehouse.check_server()


def test_the_oldest_supported_postgres_takes_the_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oldest = binaries.folder().parents[1] / "pginstall" / "bin"
    if not oldest.is_dir():
        pytest.skip("the wheel here has no Postgres 16")
    monkeypatch.setattr(binaries, "folder", lambda: oldest)
    monkeypatch.setattr(binaries, "major_version", lambda: "16")
    with EmbeddedServer(tmp_path / "home").lease() as old:
        warehouse = Warehouse(old.url())
        warehouse.check_server()
        assert migrate(warehouse) == newest_revision()
        with warehouse.connect(Role.ml) as connection:
            assert connection.info.server_version // 10_000 == 16
            assert connection.execute("select current_user").fetchone() == ("churn_ml",)
