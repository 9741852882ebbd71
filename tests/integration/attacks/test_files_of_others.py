"""A company of files tries to read another company's folder, or any file of the machine."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipeline.connectors.errors import AccessDenied, ConnectorError
from pipeline.connectors.file_reading.places import Folder
from pipeline.connectors.registry import Access, load_connector
from pipeline.connectors.sql_database import SqlDatabase, SqlSettings
from pipeline.connectors.time_limit import TimeLimit
from pipeline.connectors.validation import Reading
from tests.integration.company_folders import imports
from warehouse.errors import SettingsError
from warehouse.settings import Settings, load_settings

READING = Reading(ZoneInfo("UTC"), datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (imports(tmp_path / "home", "zeta") / "customers.csv").write_text("secret")
    (imports(tmp_path / "home", "acme_eu") / "customers.csv").write_text("secret")
    (imports(tmp_path / "home", "acme") / "customers.csv").write_text("own")
    (imports(tmp_path / "home", "acme") / "link").symlink_to(imports(tmp_path / "home", "zeta"))
    return Settings(home=tmp_path / "home", import_folders=str(tmp_path / "drop"))


@pytest.mark.parametrize(
    "directory",
    [
        ".", "", "imports", "imports/", "imports/zeta", "imports/acme_eu", "imports/acme/..", "imports/acme/../zeta",
        "imports/acme/link", "..", "/", "/etc", "/proc/self", "~", "secrets/acme", "imports/ACME",
    ],
)  # fmt: skip
def test_a_directory_that_is_not_the_companys_is_refused(settings: Settings, directory: str) -> None:
    with pytest.raises(AccessDenied, match=r"imports/acme or .*drop/acme"):
        Folder("acme", directory, settings)


def test_the_absolute_path_of_another_company_and_of_what_holds_all_is_refused(
    settings: Settings, tmp_path: Path
) -> None:
    for folder in (settings.home / "imports" / "zeta", settings.home, tmp_path / "drop", tmp_path / "drop" / "zeta"):
        with pytest.raises(AccessDenied):
            Folder("acme", str(folder), settings)


@pytest.mark.parametrize("path", ["../zeta/*.csv", "link/*.csv", "**/*.csv", "/etc/passwd", "../**/customers.csv"])
def test_no_path_leads_out_of_the_folder(settings: Settings, path: str) -> None:
    try:
        files = Folder("acme", None, settings).files(path)
    except ConnectorError:
        return
    assert [file.read_text() for file in files] == ["own"]


def test_the_companys_own_folders_are_read(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "drop" / "acme" / "june").mkdir(parents=True)
    for directory in (None, "imports/acme", str(settings.home / "imports" / "acme"), str(tmp_path / "drop/acme/june")):
        assert Folder("acme", directory, settings).path.is_dir()


def test_folders_of_the_setting_are_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_IMPORT_FOLDERS", "/srv/drop, drop")
    with pytest.raises(SettingsError, match="CHURN_IMPORT_FOLDERS: each folder must be an absolute path"):
        load_settings()


def open_sqlite(url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> SqlDatabase:
    monkeypatch.setenv("CHURN_SOURCE_ACME__URL", url)
    access = Access("acme", READING, lambda _: url, settings, TimeLimit("acme", "database"))
    connector = load_connector("sql_database")
    return connector.open(SqlSettings(url="env:CHURN_SOURCE_ACME__URL", tables={}), access)  # type: ignore[return-value]


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://", "sqlite:///:memory:", "sqlite:///", "sqlite:///{home}/postgres.secrets", "sqlite:///crm.db",
        "sqlite:///{home}/imports/zeta/crm.db", "sqlite:///{home}/imports/acme/../zeta/crm.db",
        "sqlite:///{home}/imports/acme/link/crm.db", "sqlite+pysqlite:////etc/passwd",
        "sqlite:///file:{home}/imports/zeta/crm.db?uri=true", "sqlite:///{home}/imports/acme/crm.db?uri=true",
        "sqlite:///{home}/imports/acme_eu/crm.db", "sqlite:///{home}/imports/acme",
    ],
)  # fmt: skip
def test_no_sqlite_file_outside_the_folder_is_opened(
    settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AccessDenied, match=r"that is no file of acme's: its files lie in .*imports/acme or"):
        open_sqlite(url.format(home=settings.home), settings, monkeypatch)


def test_the_companys_own_sqlite_file_is_read(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    file = settings.home / "imports" / "acme" / "crm.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("create table t (a)")
    open_sqlite(f"sqlite:///{file}", settings, monkeypatch).close()
