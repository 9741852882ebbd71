"""What every command of `churn` stands on: the terminal, an error that ends it, and the warehouse."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from pipeline.prediction.tasks import CONTRACTS
from warehouse.connection import Warehouse
from warehouse.migrate import migrate
from warehouse.settings import Settings, load_settings

TaskName = Annotated[str, typer.Option("--task", help="What is predicted, such as churn.")]
"""For commands about one task; churn where they are not told."""

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False)


class CommandFailed(Exception):
    """What the command was asked for did not come to pass."""


@contextmanager
def open_warehouse() -> Iterator[tuple[Settings, Warehouse]]:
    """The warehouse, running and migrated."""
    settings = load_settings()
    with Warehouse.open(settings) as warehouse:
        migrate(warehouse, CONTRACTS)
        yield settings, warehouse
