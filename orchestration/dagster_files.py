"""Where Dagster keeps its runs and events, beside the embedded Postgres: in SQLite files under the home folder.

Dagster opens and closes its file for each of the thousand events of a run. Where nobody else has the file open, SQLite
makes each close a checkpoint that waits for the disk, and by default each commit waits, too: together half of what a
step of dbt took around dbt itself.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

MOST_KEPT_OPEN = 8
"""A run writes into four; who looks at many old runs keeps the last."""


class UnhurriedDisk:
    """SQLite files of some folder whose events need not be on the disk when they are written.

    What a power cut takes with it is the last seconds of Dagster's log; the files stay whole, and the warehouse's rows
    are Postgres's. What a killed process wrote stays.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._kept: OrderedDict[Path, sqlite3.Connection] = OrderedDict()
        self._lock = threading.Lock()
        sa.event.listen(sa.Engine, "connect", self._connected)

    def _connected(self, connection: object, _record: object) -> None:
        """What each new connection of this process begins with; those to other databases are left as they are."""
        if not isinstance(connection, sqlite3.Connection):
            return
        (_, _, name), *_ = connection.execute("pragma database_list").fetchall()
        file = Path(name)
        if not file.is_relative_to(self._folder):
            return
        with self._lock:
            if file not in self._kept and _has_write_ahead_log(connection):
                self._keep_open(file)
            if file in self._kept:
                self._kept.move_to_end(file)
                # With a write-ahead log only a checkpoint waits then, and no file can break.
                connection.execute("pragma synchronous = normal")

    def _keep_open(self, file: Path) -> None:
        """So that no other connection is the last, whose end is a checkpoint."""
        kept = sqlite3.connect(file, check_same_thread=False)
        # A connection has its file open from the first time that it reads.
        _has_write_ahead_log(kept)
        self._kept[file] = kept
        if len(self._kept) > MOST_KEPT_OPEN:
            self._kept.popitem(last=False)[1].close()

    def close(self) -> None:
        """Close what was kept open, and keep nothing open any longer."""
        if sa.event.contains(sa.Engine, "connect", self._connected):
            sa.event.remove(sa.Engine, "connect", self._connected)
        with self._lock:
            while self._kept:
                self._kept.popitem()[1].close()


class EventFiles(SqliteEventLogStorage):
    """Dagster's own files of events; who closes it lets go of what was kept open."""

    def __init__(self, base_dir: str, disk: UnhurriedDisk) -> None:
        self._disk = disk
        super().__init__(base_dir)

    def dispose(self) -> None:
        """An instance that is closed closes its storages of runs and of events, not what holds both."""
        super().dispose()
        self._disk.close()


class FileStorage(DagsterSqliteStorage):
    """Dagster's own storage in files; the same files, without waiting for the disk at each event."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        disk = UnhurriedDisk(Path(base_dir))
        super().__init__(base_dir, inst_data=inst_data)
        self._event_log_storage = EventFiles(self._event_log_storage._base_dir, disk)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> FileStorage:
        """The storage of a folder, ``base_dir``."""
        return cls.from_local(inst_data=inst_data, **config_value)


def _has_write_ahead_log(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("pragma journal_mode").fetchone()[0] == "wal")
