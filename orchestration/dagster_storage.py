"""Where Dagster keeps its runs and events, beside a Postgres of its own: in that Postgres, by our settings.

Dagster hands its whole configuration from process to process as an argument, which every user of the machine can read.
So dagster.yaml holds no address: each process takes it from its own environment, as the rest of us does.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import sqlalchemy as sa
from dagster._config.config_schema import UserConfigSchema
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage

from warehouse.connection import Warehouse
from warehouse.errors import SettingsError
from warehouse.lost_connection import LONGEST_AWAY, says_lost
from warehouse.relations import DAGSTER_SCHEMA
from warehouse.settings import load_settings


class WarehouseStorage(DagsterPostgresStorage):
    """Dagster's storage in the Postgres of CHURN_DATABASE_URL."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """No configuration."""
        return {}

    @classmethod
    def from_config_value(
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Any,  # noqa: ARG003 - Dagster's own
    ) -> WarehouseStorage:
        """The storage by the settings of this process. Raises SettingsError where there is no Postgres in them."""
        settings = load_settings()
        if settings.database_url is None:
            raise SettingsError("Dagster's history is in Postgres, and CHURN_DATABASE_URL is not set here. Set it.")
        address = Warehouse(settings.database_url).url(driver="postgresql+psycopg2", schema=DAGSTER_SCHEMA)
        storage = cls(postgres_url=address, inst_data=inst_data)
        parts: list[Any] = [storage.run_storage, storage.event_log_storage, storage.schedule_storage]
        for part in parts:
            sa.event.listen(part._engine, "do_connect", _connect_patiently)
            _keep_webservers_connections_alive(part)
        return storage


def _keep_webservers_connections_alive(part: Any) -> None:
    """The webserver holds its connections in an engine that it makes later; after a restart of Postgres each is dead.

    Whoever launched a run then left one that never began.
    """
    make_engine = part.optimize_for_webserver

    def make_engine_and_watch_it(*arguments: Any, **named: Any) -> None:
        make_engine(*arguments, **named)
        sa.event.listen(part._engine, "do_connect", _connect_patiently)
        sa.event.listen(part._engine, "checkout", _refuse_dead_connection)

    part.optimize_for_webserver = make_engine_and_watch_it


def _refuse_dead_connection(connection: Any, _record: object, _proxy: object) -> None:
    """SQLAlchemy's pool takes a new one, then."""
    with closing(connection.cursor()) as cursor:
        try:
            cursor.execute("select 1")
        except Exception as error:
            raise sa.exc.DisconnectionError from error


def _connect_patiently(dialect: Any, _record: object, arguments: Any, named: Any) -> Any:
    """A connection as soon as Postgres answers; a run that waits for it, as its steps do, shall not die of its events.

    Raises the driver's error after LONGEST_AWAY.
    """
    deadline = time.monotonic() + LONGEST_AWAY.total_seconds()
    while True:
        try:
            return dialect.connect(*arguments, **named)
        except dialect.loaded_dbapi.OperationalError as error:
            if not says_lost(str(error)) or time.monotonic() > deadline:
                raise
            time.sleep(1)
