"""``churn`` without a command: what it is for, and its version, which the installed package has from pyproject.toml."""

from importlib.metadata import version
from typing import Annotated

import typer

DISTRIBUTION = "churn-warehouse"


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"{DISTRIBUTION} {version(DISTRIBUTION)}")
        raise typer.Exit


def root(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Who is about to leave, why, what that costs, and whether last month's warnings were right."""
