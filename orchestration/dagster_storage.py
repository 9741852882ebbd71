"""Where Dagster keeps its runs and events, beside a Postgres of its own: in that Postgres, by our settings.

Dagster hands its whole configuration from process to process as an argument, which every user of the machine can read.
So dagster.yaml holds no address: each process takes it from its own environment, as the rest of us does.
"""

from __future__ import annotations

import time
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
        return storage


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
