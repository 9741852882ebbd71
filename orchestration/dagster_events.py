"""Dagster's runs and events in files, as Dagster keeps them, but with one engine per file.

Dagster's own classes make an engine for every question: each compiles its statements anew, opens the file, and writes
its journal back when it closes it. A run of the whole line asks five thousand. `dagster.yaml` names the last class
here; files and tables are Dagster's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine

MOST_FILES = 20


class _Engines(dict[str, Engine]):
    """By address, made when first asked for. Where they become many, as in a UI that shows old runs, all are closed."""

    def __missing__(self, address: str) -> Engine:
        if len(self) == MOST_FILES:
            self.close()
        self[address] = create_engine(address, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
        return self[address]

    def close(self) -> None:
        while self:
            self.popitem()[1].dispose()


class Events(SqliteEventLogStorage):
    """One file per run, and one for what concerns all runs."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines = _Engines()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engines[self.conn_string_for_shard(shard)]
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def dispose(self) -> None:
        super().dispose()
        self._engines.close()


class Runs(SqliteRunStorage):
    """One file."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines = _Engines()
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with self._engines[self._conn_string].connect() as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        super().dispose()
        self._engines.close()


class RunsAndEvents(DagsterSqliteStorage):
    """What `dagster.yaml` names as its storage."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._run_storage = Runs(self._run_storage._conn_string)
        self._event_log_storage = Events(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        return cls.from_local(inst_data=inst_data, **config_value)
