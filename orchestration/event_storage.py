"""Where Dagster's events are kept beside an embedded Postgres: its own files, written with fewer openings of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._serdes import ConfigurableClassData
from sqlalchemy.pool import QueuePool

_LOCKED_SECONDS = 300
_KEPT_OPEN = 4
"""The index of all runs, the run at hand, and some that a page of the UI shows."""


class PooledSqliteEventLogStorage(SqliteEventLogStorage):
    """Dagster's event log in files, the same files, with a connection to each that is in use kept open.

    Dagster opens, compiles for, synchronises and closes a file for each of a run's thousand events, which took a
    seventh of a daily run. A power cut may lose the last events, and no more.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, sqlalchemy.Engine] = {}
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PooledSqliteEventLogStorage":
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sqlalchemy.Connection]:
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    def _engine(self, shard: str) -> sqlalchemy.Engine:
        engine = self._engines.pop(shard, None)
        if engine is None:
            engine = sqlalchemy.create_engine(
                create_db_conn_string(self._base_dir, shard),
                poolclass=QueuePool,
                pool_size=1,
                connect_args={"timeout": _LOCKED_SECONDS},
            )
            sqlalchemy.event.listen(engine, "connect", _synchronise_at_checkpoints)
            self._initdb(engine)
        self._engines[shard] = engine
        while len(self._engines) > _KEPT_OPEN:
            self._engines.pop(next(iter(self._engines))).dispose()
        return engine

    def dispose(self) -> None:
        """Close the files."""
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()
        super().dispose()


def _synchronise_at_checkpoints(connection: Any, _record: Any) -> None:
    """In the journal's mode that Dagster uses, this still keeps the file whole through a power cut."""
    connection.execute("pragma synchronous = normal")
