"""Another user of the machine looks into the home folder, an export and a report."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation.private_files import make_home, private_file
from warehouse.connection import Warehouse

ROOT = Path(__file__).parents[3]
OPEN = 0o022


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(OPEN)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def readable_by_others(folder: Path) -> list[str]:
    """What another user could open below a folder, going by names that he knows."""
    reached = []
    for path in folder.iterdir():
        if path.is_dir():
            if mode(path) & 0o011:
                reached += readable_by_others(path)
            if mode(path) & 0o044:
                reached.append(str(path))
        elif mode(path) & 0o044:
            reached.append(str(path))
    return reached


def churn(home: Path, warehouse: Warehouse, *arguments: str) -> None:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("CHURN_")}
    ours = {"CHURN_HOME": str(home), "CHURN_DATABASE_URL": warehouse.url("postgresql")}
    program = str(Path(sys.executable).with_name("churn"))
    done = subprocess.run([program, *arguments], cwd=ROOT, env=outside | ours, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_in_the_home_folder_is_others_to_read(warehouse: Warehouse, tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    churn(home, warehouse, "migrate")
    assert mode(home) == 0o711
    assert mode(home.parent) & 0o001
    assert any(home.iterdir())
    assert readable_by_others(home) == []


def test_a_home_that_an_earlier_version_left_open_is_closed_with_what_is_in_it(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True)
    (home / "logs" / "run.log").write_text("customers")
    home.chmod(0o755)
    churn(home, warehouse, "company", "list")
    assert (mode(home), mode(home / "logs")) == (0o711, 0o700)
    assert readable_by_others(home) == []


@pytest.mark.parametrize(("before", "after"), [(0o777, 0o711), (0o700, 0o711), (0o755, 0o711), (0o1777, 0o1777)])
def test_a_home_is_closed_and_a_shared_folder_left_alone(tmp_path: Path, before: int, after: int) -> None:
    home = tmp_path / "home"
    (home / "somebodys").mkdir(parents=True)
    home.chmod(before)
    make_home(home)
    assert (mode(home), mode(home / "somebodys")) == (after, 0o755)


def test_a_link_in_the_home_changes_nothing_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "logs").symlink_to(elsewhere)
    make_home(tmp_path / "home")
    assert mode(elsewhere) == 0o755


def test_a_private_file_replaces_one_that_others_could_read(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text("old")
    with private_file(path) as file:
        assert mode(next(tmp_path.glob(".*unfinished"))) == 0o600
        file.write(b"new")
        assert path.read_text() == "old"
    assert (path.read_text(), mode(path)) == ("new", 0o600)
    assert [each.name for each in tmp_path.iterdir()] == ["export.csv"]


def test_the_demos_world_is_its_owners(tmp_path: Path) -> None:
    home = tmp_path / "home" / "demo"
    command = [sys.executable, "-m", "demo", "build", "--home", str(home), "--size", "small"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert readable_by_others(home.parent) == []
