"""What assets are handed. A resource returns a plain domain object; domain code never sees Dagster."""

from contextlib import AbstractContextManager

import dagster as dg

from warehouse.connection import Warehouse
from warehouse.settings import Settings, load_settings


class WarehouseResource(dg.ConfigurableResource["WarehouseResource"]):
    """The warehouse that the settings name: the embedded server, or ``CHURN_DATABASE_URL``."""

    def settings(self) -> Settings:
        """The settings of this process, read again so that a test may change them between runs."""
        return load_settings()

    def open(self) -> AbstractContextManager[Warehouse]:
        """The warehouse, started if it is embedded and down, held until the context ends."""
        return Warehouse.open(self.settings())
