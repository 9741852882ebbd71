"""Postgres's own programs (`psql`, `pg_dump`, `pg_restore`) on the warehouse."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from sqlalchemy.engine import make_url

from foundation.bound_program import bound
from foundation.errors import ChurnError
from warehouse.connection import APPLICATION, Warehouse
from warehouse.embedded.server import EmbeddedServer
from warehouse.errors import ServerError


class ProgramMissing(ChurnError):
    """One of Postgres's client programs is not installed; the message names it."""

    advice = "Install Postgres's client programs, of the server's version or a later one."


class ProgramFailed(ChurnError):
    """One of Postgres's client programs ended with an error; the message holds what it said."""


def client_program(name: str) -> str:
    """The embedded Postgres's own, which is of the newest version and so fits every server; else the one on PATH."""
    try:
        return str(EmbeddedServer.program(name))
    except ServerError:
        return name


def client_environment(warehouse: Warehouse) -> dict[str, str]:
    """How libpq finds the warehouse, without a password among the arguments that other users can list."""
    url = make_url(warehouse.url(driver="postgresql"))
    tls = {f"PG{name.upper()}": str(value) for name, value in url.query.items() if name.startswith("ssl")}
    return {
        "PGHOST": url.host or "",
        "PGPORT": str(url.port or 5432),
        "PGUSER": url.username or "",
        "PGPASSWORD": str(url.password or ""),
        "PGDATABASE": url.database or "",
        "PGAPPNAME": APPLICATION,
        **tls,
    }


def run_client(warehouse: Warehouse, name: str, arguments: Sequence[str]) -> str:
    """Run one of the programs on the warehouse and return what it printed; it ends when this process does.

    Raises ProgramMissing or ProgramFailed.
    """
    program = shutil.which(client_program(name))
    if program is None:
        raise ProgramMissing(f"{name} is not installed here.")
    done = subprocess.run(  # noqa: S603 - Postgres's program, with arguments of ours
        bound([program, *arguments]),
        env={**os.environ, **client_environment(warehouse)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ProgramFailed(f"{name} failed: {done.stderr.strip()}")
    return done.stdout
