"""What every command of `churn` stands on: the terminal, an error that ends it, the settings and the warehouse.

Modules of this package import at their top what reads a command line and writes to a terminal, and everything else
where it is used: `churn --help` and every command's own help are there at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import ChurnError, about
from foundation.private_files import make_home
from orchestration.console import TextConsole

if TYPE_CHECKING:
    from pipeline.prediction.tasks import TaskBinding
    from warehouse.companies.definition import Company
    from warehouse.connection import Warehouse
    from warehouse.settings import Settings

console = TextConsole(soft_wrap=True)
errors = TextConsole(stderr=True, soft_wrap=True)


class CommandFailed(ChurnError):
    """What the command was asked for did not come to pass."""


def read_settings() -> Settings:
    """The settings, by which errors are reported and logs written from here on. Raises SettingsError."""
    from orchestration import error_reports, logs
    from warehouse.settings import load_settings

    settings = load_settings()
    error_reports.start(settings)
    logs.configure(settings)
    return settings


@contextmanager
def open_warehouse() -> Iterator[tuple[Settings, Warehouse]]:
    """The warehouse, running and migrated."""
    from pipeline.prediction.tasks import CONTRACTS
    from warehouse.connection import Warehouse
    from warehouse.migrate import migrate

    settings = read_settings()
    make_home(settings.home)
    with Warehouse.open(settings) as warehouse:
        migrate(warehouse, CONTRACTS)
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


@contextmanager
def open_task(slug: str, task: str) -> Iterator[tuple[Settings, Warehouse, Company, TaskBinding]]:
    """As `open_company`, with one of the company's tasks. Raises UnknownTask where the company does not have it."""
    from pipeline.prediction.tasks import task_named

    binding = task_named(task)
    with open_company(slug) as (settings, warehouse, company):
        binding.settings_of(company)
        yield settings, warehouse, company, binding


def chosen_companies(
    warehouse: Warehouse, slug: str | None, task: TaskBinding | None = None, *, active_only: bool = True
) -> list[Company]:
    """The company of this slug, or all of them; with a task, all active ones that have it.

    Raises CompanyNotFound, and UnknownTask where the named company does not have the task.
    """
    from warehouse.companies.registry import companies_with, get_company, list_companies

    with warehouse.connect() as conn:
        if slug is None:
            return companies_with(conn, task.name) if task else list_companies(conn, active_only=active_only)
        company = get_company(conn, slug)
    if task:
        task.settings_of(company)
    return [company]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A file is written meanwhile; raises CommandFailed where it cannot be."""
    try:
        yield
    except OSError as error:
        raise CommandFailed(f"Cannot write {path}: {error.strerror}. Name a file that you may write.") from error
