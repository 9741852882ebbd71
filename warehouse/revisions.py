"""Which schema revisions this release knows, by the names of its migrations' files: Alembic takes long to say."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from warehouse.errors import NewerWarehouse
from warehouse.relations import MIGRATIONS

_VERSIONS = Path(__file__).parent / "migrations" / "versions"


@cache
def known_revisions() -> tuple[str, ...]:
    """All of them, the newest last."""
    return tuple(sorted(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py")))


def refuse_newer(connection: psycopg.Connection[Any], place: str) -> None:
    """Raises NewerWarehouse where a later release migrated the warehouse: whatever we did there would be a guess."""
    there = connection.execute("select to_regclass(%s) is not null", [str(MIGRATIONS)]).fetchone()
    if there is None or not there[0]:
        return
    row = connection.execute(sql.SQL("select version_num from {}").format(MIGRATIONS.identifier)).fetchone()
    if row is not None and row[0] not in known_revisions():
        raise NewerWarehouse(
            f"A newer release has migrated the warehouse at {place} to revision {row[0]}, and this one knows none "
            f"after {known_revisions()[-1]}."
        )
