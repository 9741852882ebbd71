"""dbt's plugin by which dbt run by hand is the warehouse's one writer, too: it waits for a run, and a run for it.

dbt loads every module whose name begins with dbt_ and hands control to its ``plugins``. A hook of the project could not
do this: dbt closes the session of its hooks before the first model is built.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

import click
from dbt.flags import get_flags
from dbt.plugins.manager import dbtPlugin
from sqlalchemy import URL

from warehouse.connection import Warehouse
from warehouse.errors import WarehouseUnreachable
from warehouse.one_writer import LONGEST_WAIT, one_writer

WRITING = {"build", "clone", "retry", "run", "seed", "snapshot"}


class OneWriter(dbtPlugin):  # type: ignore[misc]  # dbt has no types
    """Holds the lock from before the first hook until dbt's command ends."""

    def initialize(self) -> None:
        """Take the lock. Raises WarehouseBusy, whose words dbt shows, when somebody else writes for too long."""
        context, flags = click.get_current_context(silent=True), get_flags()
        if context is None or flags.WHICH not in WRITING or _is_beside(flags.VARS):
            return
        held = ExitStack()
        context.call_on_close(held.close)
        try:
            warehouse = _warehouse(context.obj["profile"].credentials)
            if warehouse.is_migrated():
                held.enter_context(one_writer(warehouse, f"dbt {flags.WHICH}", wait=LONGEST_WAIT, say=_say))
        except WarehouseUnreachable:
            # dbt says so itself, with its own retries.
            return


def _is_beside(variables: dict[str, Any]) -> bool:
    """Whether what is built stands in schemas of its own, as a proof's does, and crosses nobody's."""
    return bool(variables.get("schema_suffix"))


def _warehouse(credentials: Any) -> Warehouse:
    tls = {name: getattr(credentials, name, None) for name in ("sslmode", "sslcert", "sslkey", "sslrootcert")}
    url = URL.create(
        "postgresql",
        username=credentials.user,
        password=credentials.password,
        host=credentials.host,
        port=int(credentials.port),
        database=credentials.database,
        query={name: value for name, value in tls.items() if value},
    )
    return Warehouse(url.render_as_string(hide_password=False))


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")


plugins = [OneWriter]
