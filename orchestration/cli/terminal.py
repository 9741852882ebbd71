"""What every command of `churn` stands on: the terminal, an error that ends it, the settings and the warehouse.

Modules of this package import at their top what reads a command line and writes to a terminal, and everything else
where it is used: `churn --help` and every command's own help are there at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from foundation.errors import ChurnError, about

if TYPE_CHECKING:
    from warehouse.companies.definition import Company
    from warehouse.connection import Warehouse
    from warehouse.settings import Settings

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


class CommandFailed(ChurnError):
    """What the command was asked for did not come to pass."""


def read_settings() -> Settings:
    """The settings; from here on errors are reported where SENTRY_DSN is set. Raises SettingsError."""
    from orchestration import error_reports
    from warehouse.settings import load_settings

    settings = load_settings()
    error_reports.start(settings)
    return settings


@contextmanager
def open_warehouse() -> Iterator[tuple[Settings, Warehouse]]:
    """The warehouse, running and migrated."""
    from warehouse.connection import Warehouse
    from warehouse.migrate import migrate

    settings = read_settings()
    with Warehouse.open(settings) as warehouse:
        migrate(warehouse)
        yield settings, warehouse


@contextmanager
def open_company(slug: str) -> Iterator[tuple[Settings, Warehouse, Company]]:
    """The warehouse and one of its companies, which every error that comes up meanwhile names."""
    from warehouse.companies.registry import get_company

    with open_warehouse() as (settings, warehouse):
        with warehouse.connect() as conn:
            company = get_company(conn, slug)
        with about(slug):
            yield settings, warehouse, company


def chosen_companies(warehouse: Warehouse, slug: str | None, *, active_only: bool = True) -> list[Company]:
    """The company of this slug, or all of them. Raises CompanyNotFound."""
    from warehouse.companies.registry import get_company, list_companies

    with warehouse.connect() as conn:
        return [get_company(conn, slug)] if slug else list_companies(conn, active_only=active_only)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A file is written meanwhile; raises CommandFailed where it cannot be."""
    try:
        yield
    except OSError as error:
        raise CommandFailed(f"Cannot write {path}: {error.strerror}. Name a file that you may write.") from error
