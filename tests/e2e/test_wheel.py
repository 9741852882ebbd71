"""The wheel alone, in an empty folder: what it carries, and the demo run from it.

It is installed beside the packages of the tests' own environment, so that nothing is downloaded; the checkout is not
among them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("wheel")

ROOT = Path(__file__).parents[2]
PACKAGES = {"orchestration", "serving", "pipeline", "ml_assets", "warehouse", "foundation", "demo"}
DBT_PLUGIN = "dbt_warehouse.py"
"""It stands beside the packages, where dbt looks for plugins."""
WHERE_THINGS_ARE = """
import {packages}
from pipeline.features.catalogue import PROJECT_DIRECTORY
from pipeline.integrations.metabase.definitions import DASHBOARDS_DIRECTORY
print(PROJECT_DIRECTORY / "dbt_project.yml", DASHBOARDS_DIRECTORY / "warehouse.yaml", sep="\\n")
for package in ({packages},):
    print(package.__file__)
"""
DBT = """#!{python}
from dbt.cli.main import cli
cli()
"""


@dataclass
class Installed:
    """An environment with the wheel in it, and an empty folder to run its programs in."""

    environment: Path
    folder: Path

    @property
    def site_packages(self) -> Path:
        return Path(sysconfig.get_path("purelib", "venv", {"base": str(self.environment)}))

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        outside = {
            name: value for name, value in os.environ.items() if not name.startswith(("CHURN_", "DAGSTER_", "PYTHON"))
        }
        return subprocess.run(
            [str(self.environment / "bin" / program), *arguments],
            cwd=self.folder,
            env=outside,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    environment = tmp_path_factory.mktemp("installed") / "environment"
    venv.create(environment, symlinks=True)
    installed = Installed(environment, tmp_path_factory.mktemp("empty"))
    python = environment / "bin" / "python"
    options = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), "install", *options, str(wheel)], check=True)
    # A folder that a .pth file names is searched; .pth files in it, as that of an editable install, are not read.
    (installed.site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    dbt = environment / "bin" / "dbt"
    dbt.write_text(DBT.format(python=python))
    dbt.chmod(0o755)
    return installed


def test_it_carries_what_git_has_of_the_packages_and_the_sql_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {*PACKAGES, DBT_PLUGIN}
    carried = {name.removeprefix("pipeline/data/") for name in names if ".dist-info" not in name}
    assert carried == _tracked(*PACKAGES, DBT_PLUGIN, "dbt_project", "dashboards")
    assert re.search(r"^Requires-Dist: swagger-ui-bundle; extra == .demo.$", metadata, re.MULTILINE)


def test_everything_is_found_in_the_wheel(installed: Installed) -> None:
    asked = installed.run("python", "-c", WHERE_THINGS_ARE.format(packages=", ".join(sorted(PACKAGES))))
    assert asked.returncode == 0, asked.stderr
    for place in asked.stdout.splitlines():
        assert Path(place).is_relative_to(installed.site_packages), place
        assert Path(place).is_file(), place


def test_the_demo_runs_in_an_empty_folder_and_leaves_the_installation_as_it_is(installed: Installed) -> None:
    assert list(installed.folder.iterdir()) == []
    before = _files(installed.site_packages / "pipeline" / "data")
    done = installed.run("churn", "demo", "run", "--customers", "300")
    assert done.returncode == 0, done.stdout + done.stderr
    for phrase in ("Rows pulled", "Churn: model quality", "Churn: customers by risk", "churn demo advance"):
        assert phrase in done.stdout
    assert ".venv" not in done.stdout
    assert _files(installed.site_packages / "pipeline" / "data") == before
    assert [path.name for path in installed.folder.iterdir()] == [".churn"]


def _tracked(*folders: str) -> set[str]:
    """What git has, or would take, in these folders, less the settings of linters."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return {
        name for name in listed.stdout.splitlines() if not Path(name).name.startswith(".") and "sqlfluff" not in name
    }


def _files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}
