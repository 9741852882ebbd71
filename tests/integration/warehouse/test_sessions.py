"""What our sessions rest on, whatever the server is set to; a pooler is refused; and no lock is waited for for ever."""

from __future__ import annotations

import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import which

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import create_engine, make_url

from orchestration.dbt_build import describe_failures
from pipeline.features.culprits import FailedNode
from tests.conftest import TestServer
from tests.integration.dbt_project.dbt_runs import DbtRuns, copy_project
from warehouse import migrate as migrating
from warehouse import sessions
from warehouse.connection import Warehouse
from warehouse.embedded.server import OWNER
from warehouse.errors import LockHeld, MigrationError, PoolerInTheWay
from warehouse.migrate import migrate
from warehouse.roles import Role

STRANGE = {
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Asia/Kolkata",
    "extra_float_digits": "-5",
    "standard_conforming_strings": "off",
    "bytea_output": "escape",
    "default_transaction_read_only": "on",
    "statement_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1s",
    "search_path": "elsewhere",
}
SHOWN = ("DateStyle", "IntervalStyle", "TimeZone", "extra_float_digits", "standard_conforming_strings", "lock_timeout")
LOOK = "select " + ", ".join(f"current_setting('{name}')" for name in SHOWN)
OURS = ("ISO, MDY", "postgres", "UTC", "1", "on", "1min")
AT = datetime(2026, 2, 1, 12, 30, tzinfo=UTC)


@pytest.fixture
def strange(postgres: TestServer, warehouse: Warehouse) -> Warehouse:
    """A warehouse in a database that is set otherwise in all that we rest on."""
    database = sql.Identifier(warehouse.place.rpartition("/")[2])
    with postgres.administer() as connection:
        for name, value in STRANGE.items():
            connection.execute(
                sql.SQL("alter database {} set {} = {}").format(database, sql.Identifier(name), sql.Literal(value))
            )
    return warehouse


@pytest.mark.parametrize("role", [None, Role.loader, Role.ml])
def test_psycopg_and_adbc_rest_on_the_same_settings_whatever_the_server_has(
    strange: Warehouse, role: Role | None
) -> None:
    with strange.connect(role) as connection:
        assert connection.execute(LOOK.encode()).fetchone() == OURS
        row = connection.execute("select timestamptz '2026-02-01T12:30Z', interval '1 day 2 hours'").fetchone()
    assert row == (AT, timedelta(days=1, hours=2))
    with strange.adbc(role) as connection, connection.cursor() as cursor:
        cursor.execute(LOOK)
        assert cursor.fetchone() == OURS


def test_sqlalchemy_rests_on_them_too(strange: Warehouse) -> None:
    engine = create_engine(strange.url("postgresql+psycopg2", schema="mlflow"))
    with engine.connect() as connection:
        assert tuple(connection.exec_driver_sql(LOOK).one()) == OURS
        assert connection.exec_driver_sql("select current_setting('search_path')").scalar() == "mlflow"
    engine.dispose()


@pytest.fixture
def dbt(warehouse: Warehouse, tmp_path: Path) -> DbtRuns:
    warehouse.write_dbt_profile(tmp_path)
    runs = DbtRuns(copy_project(tmp_path / "project"), tmp_path)
    (runs.project / "models" / "staging" / "session_settings.sql").write_text(f"select {LOOK.removeprefix('select ')}")
    return runs


MODEL = "stg_crm__customer_versions"


@pytest.mark.xdist_group("dbt_staging")
def test_dbt_rests_on_them_too(strange: Warehouse, dbt: DbtRuns) -> None:
    seen = ", ".join(f"current_setting('{name}') as s{place}" for place, name in enumerate(SHOWN))
    path = dbt.project / "models" / "staging" / "session_settings.sql"
    path.write_text(f"{{{{ config(materialized='table') }}}} select {seen}")
    dbt.run("run", "--select", "session_settings")
    with strange.connect() as connection:
        assert connection.execute("table staging.session_settings").fetchone() == OURS


@pytest.mark.xdist_group("dbt_staging")
def test_dbt_does_not_wait_for_an_idle_reader_without_end_and_says_who_it_is(
    warehouse: Warehouse, dbt: DbtRuns
) -> None:
    (dbt.project / "models" / "staging" / "session_settings.sql").unlink()
    once = {"lock_wait_seconds": 1, "lock_attempts": 2}
    dbt.run("run", "--select", MODEL, variables=once)
    url = make_url(warehouse.url("postgresql")).update_query_dict({"application_name": "spreadsheet"})
    with psycopg.connect(url.render_as_string(hide_password=False)) as reader:
        reader.execute(f"select from staging.{MODEL}")
        begun = time.monotonic()
        with pytest.raises(AssertionError) as failed:
            dbt.run("run", "--select", MODEL, variables=once)
        assert time.monotonic() - begun < 30
        who = f"process {reader.info.backend_pid} (role {OWNER}, application spreadsheet, since 20"
        assert f"{MODEL}" in str(failed.value)
        assert who in str(failed.value)
        assert "pg_terminate_backend" in str(failed.value)
    dbt.run("run", "--select", MODEL, variables=once)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sessions.SETTINGS, "lock_timeout", "1s")
    monkeypatch.setitem(sessions._AS_SHOWN, "lock_timeout", "1s")
    for module in (sessions, migrating):
        monkeypatch.setattr(module, "LOCK_TIMEOUT", timedelta(seconds=1))


@pytest.mark.xdist_group("dbt_staging")
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("lock", "change"), [("share", "select 1 as figure"), ("access share", "select 1 as figure, 2 as other")]
)
def test_dbt_names_who_keeps_a_table_from_new_rows_or_a_new_column(
    warehouse: Warehouse, dbt: DbtRuns, lock: str, change: str
) -> None:
    """It said "canceling statement due to lock timeout", and no more."""
    model, once = (
        dbt.project / "models" / "staging" / "session_settings.sql",
        {"lock_wait_seconds": 1, "lock_attempts": 1},
    )
    settings = "{{ config(materialized='incremental', incremental_strategy='append') }} "
    model.write_text(f"{settings}select 1 as figure")
    dbt.run("run", "--select", "session_settings", variables=once)
    model.write_text(settings + change)
    dbt.parse()
    with psycopg.connect(warehouse.url("postgresql")) as reader:
        reader.execute(f"lock table staging.session_settings in {lock} mode")
        with pytest.raises(AssertionError) as failed:
            dbt.run("run", "--select", "session_settings", variables=once)
        message = str(failed.value).removeprefix("session_settings: ")
        node = FailedNode("model.churn_warehouse.session_settings", message)
        said = describe_failures([node], warehouse)
        assert "building session_settings: " in said
        assert f"process {reader.info.backend_pid} (role {OWNER}" in said
        assert "pg_terminate_backend" in said + str(failed.value)


@pytest.mark.usefixtures("impatient")
def test_a_statement_of_ours_that_waits_in_vain_says_who_holds_what_since_when(warehouse: Warehouse) -> None:
    with warehouse.connect(Role.operator) as reader:
        reader.execute("select from ops.companies")
        with pytest.raises(LockHeld) as held, warehouse.connect() as writer:
            writer.execute("lock table ops.companies in access exclusive mode")
        said = f"process {reader.info.backend_pid} (role {OWNER}, application churn-warehouse, since 20"
        assert said in str(held.value)
        assert "holds ops.companies" in str(held.value)


@pytest.mark.usefixtures("impatient")
def test_a_migration_tries_again_and_then_names_the_reader(empty_database: Warehouse) -> None:
    migrate(empty_database, revision="0019")
    with psycopg.connect(empty_database.url("postgresql")) as reader:
        reader.execute("lock table ml.staged_scores in share mode")
        with pytest.raises(MigrationError, match=f"process {reader.info.backend_pid} .*holds ml.staged_scores"):
            migrate(empty_database)
    migrate(empty_database)


@pytest.fixture
def pooler(warehouse: Warehouse, tmp_path: Path) -> str:
    """The address of a PgBouncer in transaction mode, before the warehouse, that is told to ignore `options`."""
    program = which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if program is None:
        pytest.skip("pgbouncer is not installed here")
    url = make_url(warehouse.url("postgresql"))
    users = tmp_path / "users.txt"
    users.write_text(f'"{url.username}" "{url.password}"\n')
    configuration = tmp_path / "pgbouncer.ini"
    port = 30_000 + hash(str(tmp_path)) % 2_000
    configuration.write_text(
        f"[databases]\n{url.database} = host={url.host} port={url.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n"
        f"auth_file = {users}\npool_mode = transaction\nIGNORED\n"
    )
    return f"{program} {configuration} {url.set(port=port).render_as_string(hide_password=False)}"


@pytest.mark.parametrize("ignored", ["", "ignore_startup_parameters = options,extra_float_digits"])
def test_a_pooler_in_transaction_mode_is_refused_by_name_with_the_remedy(pooler: str, ignored: str) -> None:
    program, configuration, url = pooler.split(" ")
    path = Path(configuration)
    path.write_text(path.read_text().replace("IGNORED", ignored))
    path.parent.chmod(0o755)
    for folder in path.parents:
        if folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o001)
    as_somebody = ["-u", "nobody"] if Path("/proc/self").owner() == "root" else []
    with subprocess.Popen([program, *as_somebody, configuration], stderr=subprocess.DEVNULL) as running:
        try:
            time.sleep(1)
            for role in (None, Role.ml):
                for door in ("connect", "adbc"):
                    with pytest.raises(PoolerInTheWay, match="connection pooler") as refused:
                        getattr(Warehouse(url), door)(role)
                    assert "session port" in str(refused.value)
        finally:
            running.terminate()


@pytest.mark.parametrize("role", [None, *Role])
def test_a_session_that_began_without_what_was_asked_is_told_by_what_it_lacks(
    warehouse: Warehouse, role: Role | None
) -> None:
    with psycopg.connect(warehouse.url("postgresql")) as bare:
        row = bare.execute(sessions.LOOK).fetchone()
        assert row is not None
        assert "lock_timeout" in str(sessions.not_taken_on(row, role))
        bare.execute("set datestyle = 'SQL, DMY'")
        row = bare.execute(sessions.LOOK).fetchone()
        assert row is not None
        lacks = str(sessions.not_taken_on(row, role))
    assert "DateStyle is 'SQL, DMY'" in lacks
    assert ("role is 'churn_owner' and not" in lacks) == (role is not None)
