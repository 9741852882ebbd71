"""A company of files tries to read another company's folder, or any file of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.connectors.errors import AccessDenied, ConnectorError
from pipeline.connectors.file_reading.places import Folder
from tests.integration.company_folders import imports
from warehouse.errors import SettingsError
from warehouse.settings import Settings, load_settings


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
