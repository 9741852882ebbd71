"""In a checkout the SQL and YAML are those beside the packages; what is installed is not written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.cli.dashboards import dashboards_exposures
from orchestration.cli.terminal import CommandFailed
from pipeline import data_files
from pipeline.telling.exposures import EXPOSURES_FILE

ROOT = Path(__file__).parents[3]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As an installed wheel has it: the files stand in the package."""
    monkeypatch.setattr(data_files, "_INSTALLED", tmp_path)
    return tmp_path


def test_a_checkout_reads_what_its_people_edit() -> None:
    assert data_files.is_checkout()
    assert data_files.data_directory("dbt_project") == ROOT / "dbt_project"
    assert data_files.data_directory("dashboards") == ROOT / "dashboards"


def test_an_installed_wheel_reads_what_came_with_it(installed: Path) -> None:
    assert not data_files.is_checkout()
    assert data_files.data_directory("dashboards") == installed / "dashboards"


def test_exposures_are_not_written_into_an_installed_wheel(installed: Path) -> None:
    before = EXPOSURES_FILE.stat().st_mtime_ns
    with pytest.raises(CommandFailed, match="written into a checkout"):
        dashboards_exposures()
    assert EXPOSURES_FILE.stat().st_mtime_ns == before
