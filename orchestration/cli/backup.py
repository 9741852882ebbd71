"""``churn backup`` and ``churn restore``: the whole warehouse as one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from foundation.counting import counted
from orchestration.cli.terminal import console, open_warehouse, read_settings

if TYPE_CHECKING:
    from warehouse.backup.restore import Restored


def backup(file: Annotated[Path, typer.Argument(help="A file that is not there yet.")]) -> None:
    """Write the whole warehouse into one file: database, models, Dagster's history."""
    from importlib.metadata import version

    from orchestration.cli.version import DISTRIBUTION
    from warehouse.backup.make import make_backup
    from warehouse.connection import Warehouse

    settings = read_settings()
    with Warehouse.open(settings) as warehouse:
        manifest = make_backup(settings, warehouse, file, version(DISTRIBUTION))
    console.print(
        f"{escape(str(file))}: {counted(len(manifest.company_ids), 'company')}, "
        f"{counted(sum(manifest.rows.values()), 'row')} in "
        f"{counted(len(manifest.rows), 'table')}, {_size(file)}."
    )
    if manifest.key_check:
        console.print("CHURN_SECRET_KEY is not in it: keep it apart. Without it companies' secrets stay closed.")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `churn backup` wrote.")],
    rehearse: Annotated[
        bool, typer.Option(help="Restore into a database beside the warehouse's, compare, and drop it again.")
    ] = False,
) -> None:
    """Fill an empty warehouse from a backup, or rehearse that beside a full one."""
    from orchestration.cli.server import configure_tools
    from pipeline.prediction.tasks import CONTRACTS
    from warehouse.backup.restore import rehearse_restore, restore_backup
    from warehouse.connection import Warehouse

    if rehearse:
        with open_warehouse() as (settings, warehouse):
            restored = rehearse_restore(settings, warehouse, file)
        _say(restored, "can be restored")
        return
    settings = read_settings()
    with Warehouse.open(settings) as warehouse:
        restored = restore_backup(settings, warehouse, file, CONTRACTS)
        configure_tools(settings, warehouse)
    _say(restored, "are back")
    console.print("Logins came back without their passwords: `churn company password SLUG` gives new ones, and")
    console.print("`churn dashboards apply` renews Metabase's.")


def _say(restored: Restored, what: str) -> None:
    manifest = restored.manifest
    console.print(
        f"{counted(restored.rows, 'row')} in {counted(len(manifest.rows), 'table')} of "
        f"{counted(len(manifest.company_ids), 'company')} {what}, as of "
        f"{manifest.made_at}."
    )
    if restored.same_key is False:
        console.print(
            "[yellow]CHURN_SECRET_KEY is not the one of that warehouse: set it, or companies' secrets stay closed."
            "[/yellow]"
        )


def _size(path: Path) -> str:
    from rich.filesize import decimal

    return decimal(path.stat().st_size)
