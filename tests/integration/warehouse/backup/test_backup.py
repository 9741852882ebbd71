"""A backup restored on a fresh server: rows, rights and the companies' own view of them are what they were."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest
from cryptography.fernet import Fernet
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from pipeline.prediction.tasks import CONTRACTS
from tests.conftest import TestServer
from tests.integration.conftest import TwoCompanies
from tests.integration.warehouse.embedded.processes import is_gone
from tests.integration.warehouse.rights_in_catalog import rights
from warehouse.backup.archive import NotABackup, read_manifest
from warehouse.backup.make import BackupRefused, make_backup, row_counts
from warehouse.backup.restore import RestoreRefused, rehearse_restore, restore_backup
from warehouse.client_programs import ProgramFailed
from warehouse.connection import Warehouse
from warehouse.embedded.server import EmbeddedServer
from warehouse.migrate import migrate
from warehouse.role_check import roles_out_of_order
from warehouse.roles import Role, set_company_password
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("two_companies")

ROOT = Path(__file__).parents[4]
KEY = SecretStr(Fernet.generate_key().decode())


@dataclass(frozen=True)
class Backup:
    """A file, and the settings of the home that it was made of."""

    path: Path
    settings: Settings


@pytest.fixture(scope="module")
def backup(two_companies: TwoCompanies, tmp_path_factory: pytest.TempPathFactory) -> Backup:
    home = tmp_path_factory.mktemp("backed_up")
    (home / "mlflow" / "churn").mkdir(parents=True)
    (home / "mlflow" / "churn" / "model.json").write_text("{}")
    settings = Settings(home=home, secret_key=KEY)
    make_backup(settings, two_companies.warehouse, home / "today.backup", "1.2.3")
    return Backup(home / "today.backup", settings)


@pytest.fixture
def fresh_server(tmp_path: Path) -> Iterator[tuple[Settings, Warehouse]]:
    """A server that knows none of our roles, as a user's own, by its address."""
    with EmbeddedServer(tmp_path / "elsewhere").lease() as server:
        home = tmp_path / "home"
        home.mkdir()
        settings = Settings(home=home, database_url=SecretStr(server.url()), secret_key=KEY)
        yield settings, Warehouse(server.url())


def contents(warehouse: Warehouse) -> dict[str, object]:
    """A digest of every table's rows, whatever their order."""
    with warehouse.connect() as connection:
        return {
            table: connection.execute(
                f"select count(*), sum(hashtextextended(line::text, 0)::numeric) from {table} as line"
            ).fetchone()
            for table in row_counts(connection)
        }


def test_a_fresh_server_gets_every_row_and_every_right(
    two_companies: TwoCompanies, backup: Backup, fresh_server: tuple[Settings, Warehouse]
) -> None:
    settings, fresh = fresh_server

    restored = restore_backup(settings, fresh, backup.path, CONTRACTS)

    assert restored.same_key is True
    assert restored.manifest.company_ids == two_companies.company_ids
    assert contents(fresh) == contents(two_companies.warehouse)
    with fresh.connect() as there, two_companies.warehouse.connect() as here:
        assert rights(there) == rights(here)
        assert [*roles_out_of_order(there)] == [*roles_out_of_order(here)]
    assert (settings.home / "mlflow" / "churn" / "model.json").read_text() == "{}"


def test_a_company_sees_its_own_rows_there_and_no_others(
    two_companies: TwoCompanies, backup: Backup, fresh_server: tuple[Settings, Warehouse]
) -> None:
    settings, fresh = fresh_server
    restore_backup(settings, fresh, backup.path, CONTRACTS)
    company_id = two_companies.company_ids[0]
    with fresh.connect() as connection:
        login, password = set_company_password(connection, company_id, Role.company)
    address = make_conninfo(fresh.url("postgresql"), user=login, password=password)

    with psycopg.connect(address) as theirs, two_companies.login(company_id) as before:
        query = "select company_id, customer_id, churn_probability from predictions.churn_current order by 2"
        assert theirs.execute(query).fetchall() == before.execute(query).fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            theirs.execute("select from raw.customers")


def test_the_file_is_for_its_owner_alone_and_holds_no_key(backup: Backup) -> None:
    assert backup.path.stat().st_mode & 0o777 == 0o600
    assert KEY.get_secret_value().encode() not in backup.path.read_bytes()
    assert [path.name for path in backup.path.parent.iterdir() if path.name.startswith(".")] == []


def test_another_key_is_noticed(backup: Backup, fresh_server: tuple[Settings, Warehouse]) -> None:
    settings, fresh = fresh_server
    other = settings.model_copy(update={"secret_key": SecretStr(Fernet.generate_key().decode())})

    assert restore_backup(other, fresh, backup.path, CONTRACTS).same_key is False


def test_a_warehouse_that_is_not_empty_is_left_as_it_is(
    two_companies: TwoCompanies, backup: Backup, warehouse: Warehouse, tmp_path: Path
) -> None:
    before = contents(warehouse)

    with pytest.raises(RestoreRefused, match=r"is not empty; it has tables and views in ml \(\d+\), ops"):
        restore_backup(Settings(home=tmp_path), warehouse, backup.path, CONTRACTS)

    assert contents(warehouse) == before


def test_a_home_with_models_in_it_is_left_as_it_is(backup: Backup, empty_database: Warehouse, tmp_path: Path) -> None:
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "model.json").write_text("mine")

    with pytest.raises(RestoreRefused, match="mlflow is not empty"):
        restore_backup(Settings(home=tmp_path), empty_database, backup.path, CONTRACTS)

    assert not empty_database.is_migrated()
    assert (tmp_path / "mlflow" / "model.json").read_text() == "mine"


def test_a_right_of_a_role_that_is_not_here_is_named_before_anything_is_done(
    postgres: TestServer, warehouse: Warehouse, fresh_server: tuple[Settings, Warehouse], tmp_path: Path
) -> None:
    settings, fresh = fresh_server
    postgres.administrator.execute("create role reader_of_reports")
    try:
        with warehouse.connect() as connection:
            connection.execute("grant usage on schema ops to reader_of_reports")
        make_backup(Settings(home=tmp_path), warehouse, tmp_path / "file", "1.2.3")
        with pytest.raises(RestoreRefused, match='create role "reader_of_reports"'):
            restore_backup(settings, fresh, tmp_path / "file", CONTRACTS)
        assert not fresh.is_migrated()
    finally:
        with warehouse.connect() as connection:
            connection.execute("revoke usage on schema ops from reader_of_reports")
        postgres.administrator.execute("drop role reader_of_reports")


def test_rows_that_the_owner_cannot_see_are_not_left_out_in_silence(warehouse: Warehouse, tmp_path: Path) -> None:
    with warehouse.connect() as connection:
        connection.execute("drop policy owner_sees_all on predictions.churn_scores_v1")

    with pytest.raises(BackupRefused, match=r"does not see all rows of predictions\.churn_scores_v1"):
        make_backup(Settings(home=tmp_path), warehouse, tmp_path / "file", "1.2.3")

    assert [*tmp_path.iterdir()] == []
    migrate(warehouse, CONTRACTS)
    make_backup(Settings(home=tmp_path), warehouse, tmp_path / "file", "1.2.3")


def test_a_rehearsal_compares_and_leaves_nothing_behind(
    postgres: TestServer, two_companies: TwoCompanies, backup: Backup, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, database_url=SecretStr(two_companies.warehouse.url("postgresql")))
    with pytest.raises(RestoreRefused, match="alter role churn_owner createdb"):
        rehearse_restore(settings, two_companies.warehouse, backup.path)
    postgres.administrator.execute("alter role churn_owner createdb")
    try:
        rehearsed = rehearse_restore(settings, two_companies.warehouse, backup.path)
    finally:
        postgres.administrator.execute("alter role churn_owner nocreatedb")

    assert rehearsed.rows == sum(read_manifest(backup.path).rows.values())
    query = "select count(*) from pg_database where datname like '%%rehearsal'"
    assert postgres.administrator.execute(query).fetchone() == (0,)


def test_a_file_that_is_there_is_not_written_over(warehouse: Warehouse, backup: Backup) -> None:
    with pytest.raises(BackupRefused, match="exists already"):
        make_backup(backup.settings, warehouse, backup.path, "1.2.3")


def test_an_empty_warehouse_has_no_backup(empty_database: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match="nothing to back up"):
        make_backup(Settings(home=tmp_path), empty_database, tmp_path / "file", "1.2.3")


def test_a_backup_of_a_newer_release_is_refused(backup: Backup, empty_database: Warehouse, tmp_path: Path) -> None:
    manifest = read_manifest(backup.path).model_copy(update={"revision": "9999", "version": "9.9.9"})
    newer = tmp_path / "newer"
    with tarfile.open(newer, "w:") as archive:
        (tmp_path / "manifest.json").write_text(manifest.model_dump_json())
        archive.add(tmp_path / "manifest.json", "manifest.json")

    with pytest.raises(RestoreRefused, match=r"made by release 9\.9\.9"):
        restore_backup(Settings(home=tmp_path), empty_database, newer, CONTRACTS)


@pytest.mark.parametrize("length", [0, 100, 5_000, -1_000_000, -20_000])
def test_a_file_cut_short_is_refused_or_fails_and_leaves_the_database_empty(
    backup: Backup, empty_database: Warehouse, tmp_path: Path, length: int
) -> None:
    whole = backup.path.read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(whole[:length])

    with pytest.raises((NotABackup, ProgramFailed)):
        restore_backup(Settings(home=tmp_path), empty_database, cut, CONTRACTS)

    assert not empty_database.is_migrated()


BACKUP = """
import sys
from pathlib import Path
from warehouse.backup.make import make_backup
from warehouse.connection import Warehouse
from warehouse.settings import load_settings
settings = load_settings()
with Warehouse.open(settings) as warehouse:
    make_backup(settings, warehouse, Path(sys.argv[1]), "1.2.3")
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_backup_that_is_ended_leaves_no_pg_dump_and_the_next_one_clears_up(
    warehouse: Warehouse, tmp_path: Path, number: signal.Signals
) -> None:
    environment = {"CHURN_DATABASE_URL": warehouse.url("postgresql"), "CHURN_HOME": str(tmp_path / "home")}
    with warehouse.connect() as connection:
        connection.execute("lock table ops.companies in access exclusive mode")
        process = subprocess.Popen(
            [sys.executable, "-c", BACKUP, str(tmp_path / "file")], cwd=ROOT, env={**os.environ, **environment}
        )
        dump = pg_dump_of(process)
        process.send_signal(number)
        process.wait(timeout=20)
        assert is_gone(dump.pid)
    (left,) = tmp_path.glob(".churn-backup-*")
    os.utime(left, (0, 0))
    make_backup(Settings(home=tmp_path / "home"), warehouse, tmp_path / "file", "1.2.3")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def pg_dump_of(process: subprocess.Popen[bytes]) -> psutil.Process:
    """The child of that process once it is at work."""
    for _ in range(200):
        for child in psutil.Process(process.pid).children():
            if child.name() == "pg_dump":
                return child
        time.sleep(0.1)
    raise AssertionError("it started no pg_dump")
