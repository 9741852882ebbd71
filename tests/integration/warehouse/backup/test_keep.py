"""Backups by schedule: the newest stay, what people put beside them stays too, and their age is told."""

from __future__ import annotations

import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from warehouse.backup.archive import HOME, NotABackup, read_manifest, take_out, take_out_home
from warehouse.backup.keep import LATE_AFTER, NoBackupFolder, late_backup, make_next_backup, newest_backup
from warehouse.clock import Clock
from warehouse.connection import Warehouse
from warehouse.settings import Settings

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"


@pytest.fixture
def settings(tmp_path: Path, folder: Path) -> Settings:
    (tmp_path / "home").mkdir()
    # A warehouse that stands at another time: backups are as old as they are.
    return Settings(
        home=tmp_path / "home", backup_folder=str(folder), backups_kept=2, now=datetime(2024, 1, 1, tzinfo=UTC)
    )


def move_clock(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    monkeypatch.setattr(Clock, "now", lambda _: now)


def test_the_newest_stay_and_what_is_not_ours_stays_too(
    warehouse: Warehouse, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "churn-before-the-upgrade.backup").write_text("by hand")
    for night in range(4):
        move_clock(monkeypatch, NOW + timedelta(days=night))
        kept = make_next_backup(settings, warehouse, "1.2.3")
        assert read_manifest(kept.made).version == "1.2.3"
    assert sorted(path.name for path in folder.iterdir()) == [
        "churn-2026-12-02T030000Z.backup",
        "churn-2026-12-03T030000Z.backup",
        "churn-before-the-upgrade.backup",
    ]


def test_their_age_is_told_and_a_file_that_is_cut_short_is_none(
    warehouse: Warehouse, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_clock(monkeypatch, NOW)
    assert late_backup(settings) == f"There is no backup in {folder} yet."
    make_next_backup(settings, warehouse, "1.2.3")
    assert late_backup(settings) is None
    assert newest_backup(settings) == NOW
    (folder / "churn-2026-12-03T030000Z.backup").write_bytes(b"cut")
    move_clock(monkeypatch, NOW + LATE_AFTER + timedelta(minutes=1))
    assert late_backup(settings) == f"The newest backup in {folder} is of 2026-11-30 03:00 UTC."


def test_without_a_folder_none_is_made_and_none_is_missed(warehouse: Warehouse, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert late_backup(settings) is None
    with pytest.raises(NoBackupFolder, match="CHURN_BACKUP_FOLDER"):
        make_next_backup(settings, warehouse, "1.2.3")


@pytest.mark.parametrize("name", ["../outside", "/outside", "link"])
def test_a_python_without_filters_takes_nothing_out_beside_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    with tarfile.open(tmp_path / "of-a-stranger.backup", "w") as archive:
        member = tarfile.TarInfo(f"{HOME}/{name}")
        if name == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(member)
    (tmp_path / "home").mkdir()
    with pytest.raises(NotABackup, match="no plain file below its folder"):
        take_out_home(tmp_path / "of-a-stranger.backup", tmp_path / "home")
    assert not [*(tmp_path / "home").iterdir()]


def test_a_python_without_filters_takes_out_what_a_backup_holds(
    warehouse: Warehouse, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings.home / "mlflow" / "1").mkdir(parents=True)
    (settings.home / "mlflow" / "1" / "model.json").write_text("{}")
    made = make_next_backup(settings, warehouse, "1.2.3").made
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    monkeypatch.delattr(tarfile.TarInfo, "replace", raising=False)
    assert take_out(made, tmp_path).stat().st_size > 0
    take_out_home(made, tmp_path / "new")
    assert (tmp_path / "new" / "mlflow" / "1" / "model.json").read_text() == "{}"
