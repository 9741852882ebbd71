"""Commands that start, stop and open the warehouse and Dagster's UI."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from orchestration.cli.terminal import CommandFailed, console, open_warehouse, read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.connection import Warehouse
    from warehouse.settings import Settings


def up() -> None:
    """Start the warehouse, migrate it, and leave it running until `churn down`."""
    from pipeline.data_files import is_checkout
    from pipeline.development.places import write_profiles
    from warehouse.embedded.server import EmbeddedServer

    settings = read_settings()
    if settings.database_url is None:
        EmbeddedServer(settings.home).start(pin=True)
    with open_warehouse() as (_, warehouse):
        console.print(f"The warehouse is up at {warehouse.place}; `churn psql` opens it.")
        if is_checkout() or settings.project:
            profile = write_profiles(settings, warehouse)
            console.print(f"dbt's profile stands in {profile}; `churn dev start` makes a place to build in.")


def down(
    force: Annotated[bool, typer.Option(help="Stop it even while another command uses it.")] = False,
) -> None:
    """Stop the embedded Postgres."""
    from warehouse.embedded.server import EmbeddedServer

    settings = read_settings()
    if settings.database_url is not None:
        raise CommandFailed("CHURN_DATABASE_URL is set: that Postgres is not ours to stop.")
    EmbeddedServer(settings.home).stop(force=force)
    console.print("The warehouse is stopped.")


def status() -> None:
    """Whether the warehouse runs, and each company's last load, training and published scores."""
    from orchestration.cli.dev import print_unused
    from orchestration.cli.summary import print_disk, print_project, print_status
    from warehouse.connection import Warehouse
    from warehouse.developers import developers_schemas, list_places
    from warehouse.embedded.server import EmbeddedServer

    settings = read_settings()
    print_disk(settings, console)
    print_project(settings, console)
    if settings.database_url is None:
        server = EmbeddedServer(settings.home).status()
        place = f" at 127.0.0.1:{server.port}" if server.port else ""
        console.print(f"Embedded Postgres in {settings.home}: {server.state}{place}")
        if server.state != "running":
            console.print("`churn up` starts it.")
            return
    with Warehouse.open(settings) as warehouse:
        if not warehouse.is_migrated():
            console.print(f"The warehouse at {warehouse.place} is empty: `churn migrate` prepares it.")
            return
        with warehouse.connect() as conn:
            print_status(conn, console)
            # An earlier release's warehouse has no places.
            print_unused(list_places(conn) if developers_schemas(conn) else [])


def migrate() -> None:
    """Bring the warehouse's schema to this version, and write Dagster's and dbt's configuration."""
    from warehouse.login_limits import left_open_by_server
    from warehouse.migrate import newest_revision
    from warehouse.role_check import roles_out_of_order

    with open_warehouse() as (settings, warehouse):
        with warehouse.connect() as conn:
            for line in (*roles_out_of_order(conn), *left_open_by_server(conn)):
                console.print(f"[yellow]To look at: {escape(line)}[/yellow]")
        home = configure_tools(settings, warehouse)
    console.print(f"The warehouse is at revision {newest_revision()}; Dagster's home is {home}.")


def configure_tools(settings: Settings, warehouse: Warehouse) -> Path:
    """Write what Dagster and dbt read of the warehouse, and return Dagster's home."""
    from orchestration import dagster_home
    from pipeline.features.dbt import prepare_manifest, write_profile

    home = dagster_home.write(settings)
    write_profile(settings, warehouse)
    prepare_manifest(settings)
    return home


def psql(context: typer.Context) -> None:
    """Open psql on the warehouse; arguments pass through, as in `churn psql -c 'select 1'`."""
    from warehouse.client_programs import client_environment, client_program
    from warehouse.connection import Warehouse

    settings = read_settings()
    with Warehouse.open(settings) as warehouse:
        try:
            done = subprocess.run(  # noqa: S603 - psql from our own wheel, or the one on PATH
                [client_program("psql"), *context.args],
                env={**os.environ, **client_environment(warehouse)},
                check=False,
            )
        except FileNotFoundError:
            raise CommandFailed(
                f"psql is not installed here. Install Postgres's client, or ask {warehouse.place} by another one."
            ) from None
    raise typer.Exit(done.returncode)


def ui(
    port: Annotated[int, typer.Option(help="Port of Dagster's UI.")] = 3000,
) -> None:
    """Dagster's UI and its daemon on this warehouse, until Ctrl-C."""
    from foundation.parent import adopt_children
    from orchestration import dagster_home
    from orchestration.cli.demo_crm import crm
    from pipeline.features.dbt import prepare_manifest, write_profile

    # Started in the background of a script, we would ignore interrupts, and Dagster with us.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open_warehouse() as (settings, warehouse), crm(settings, warehouse):
        write_profile(settings, warehouse)
        prepare_manifest(settings)
        home = dagster_home.write(settings)
        workspace = dagster_home.write_workspace(settings)
        console.print(f"Dagster's UI: http://127.0.0.1:{port} (Ctrl-C ends it)")
        adopt_children()
        dagster = subprocess.Popen(  # noqa: S603 - our own interpreter
            [
                *(sys.executable, "-m", "foundation.parent", "dagster", "dev", "--workspace", str(workspace)),
                *("-h", "127.0.0.1", "-p", str(port), "--log-level", "warning"),
            ],
            env={**os.environ, "DAGSTER_HOME": str(home), "CHURN_HOME": str(settings.home)},
        )
        try:
            code = dagster.wait()
        except KeyboardInterrupt:
            code = 0
        finally:
            # It ends its webserver and daemon on an interrupt, not on a termination.
            dagster.send_signal(signal.SIGINT)
            dagster.wait()
    raise typer.Exit(max(code, 0))
