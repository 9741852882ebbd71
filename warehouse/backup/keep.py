"""A folder of backups by the day: the next one, how many stay, and how old the newest is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from foundation.errors import ChurnError
from warehouse.backup.archive import NotABackup, read_manifest
from warehouse.backup.make import make_backup
from warehouse.clock import Clock
from warehouse.connection import Warehouse
from warehouse.settings import Settings

LATE_AFTER = timedelta(hours=50)
"""Two nights, and two hours."""
_NAME = re.compile(r"churn-\d{4}-\d{2}-\d{2}T\d{6}Z\.backup")


class NoBackupFolder(ChurnError):
    """Backups by schedule have nowhere to go."""

    advice = "Set CHURN_BACKUP_FOLDER to a folder on another disk than the warehouse's; docs/deployment.md says more."


@dataclass(frozen=True)
class KeptBackups:
    """What is in the folder after a backup: the new one, and those that went."""

    made: Path
    removed: tuple[Path, ...]


def make_next_backup(settings: Settings, warehouse: Warehouse, version: str) -> KeptBackups:
    """Make a backup in CHURN_BACKUP_FOLDER, and remove the oldest of ours beyond CHURN_BACKUPS_KEPT.

    Nothing is removed before the new one is whole. Raises NoBackupFolder, BackupRefused and ProgramFailed.
    """
    folder = _folder(settings)
    if folder is None:
        raise NoBackupFolder("CHURN_BACKUP_FOLDER is not set, so no backup was made.")
    # By the system's clock: a backup is as old as it is, whatever time the warehouse is set to.
    made = folder / f"churn-{Clock().now():%Y-%m-%dT%H%M%SZ}.backup"
    make_backup(settings, warehouse, made, version)
    surplus = _backups(folder)[: -settings.backups_kept]
    for path in surplus:
        path.unlink()
    return KeptBackups(made, tuple(surplus))


def newest_backup(settings: Settings) -> datetime | None:
    """When the newest whole backup in CHURN_BACKUP_FOLDER was made, aware, in UTC; None where there is none."""
    folder = _folder(settings)
    for path in reversed(_backups(folder) if folder else []):
        try:
            return datetime.fromisoformat(read_manifest(path).made_at).astimezone(UTC)
        except NotABackup:
            continue
    return None


def late_backup(settings: Settings) -> str | None:
    """What is wrong with the age of the newest backup, in words; None where it is young, or no folder is set."""
    if settings.backup_folder is None:
        return None
    made_at = newest_backup(settings)
    if made_at is None:
        return f"There is no backup in {settings.backup_folder} yet."
    if made_at < Clock().now() - LATE_AFTER:
        return f"The newest backup in {settings.backup_folder} is of {made_at:%Y-%m-%d %H:%M} UTC."
    return None


def _folder(settings: Settings) -> Path | None:
    return Path(settings.backup_folder) if settings.backup_folder else None


def _backups(folder: Path) -> list[Path]:
    """Ours by their names, the oldest first; what people put beside them is theirs."""
    return sorted(path for path in folder.glob("churn-*.backup") if _NAME.fullmatch(path.name))
