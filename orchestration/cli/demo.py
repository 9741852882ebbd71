"""The demo's commands: its world, its CRM, and the whole line on them."""

from typing import Annotated

import typer
from rich.markup import escape

from orchestration.cli.options import NoWait
from orchestration.cli.terminal import CommandFailed, console, open_warehouse, read_settings

demo_app = typer.Typer(no_args_is_help=True, help="Three simulated companies and the CRM that serves them.")


@demo_app.command("run")
def demo_run(
    customers: Annotated[
        int | None, typer.Option(help="Customers in all, when the world is built; 3,590 if left out.")
    ] = None,
    no_wait: NoWait = False,
) -> None:
    """Build the demo world, register its companies, serve their CRM, and run the whole line on them."""
    from orchestration.cli import demo_crm
    from orchestration.cli.jobs import run_job

    settings = read_settings()
    if customers is not None:
        console.print(escape(demo_crm.build(settings, "--customers", str(customers))))
    elif not demo_crm.is_built(settings):
        console.print(escape(demo_crm.build(settings)))
    with open_warehouse() as (settings, warehouse):
        with warehouse.connect() as conn:
            for company in demo_crm.register(settings, conn):
                console.print(f"{company.name} is registered as company {company.company_id}.")
        run_job(settings, warehouse, "sync_and_score", None, no_wait=no_wait)
    _print_next_steps()


@demo_app.command("advance")
def demo_advance(
    days: Annotated[int, typer.Option(min=1, help="Days to move the demo's clock forward.")] = 1,
) -> None:
    """Move the demo's clock forward; `churn demo run` then pulls and scores what changed.

    Each day but the last is synced on the way, as a warehouse that runs every day would have done.
    """
    from orchestration.cli import demo_crm
    from pipeline.loading.sync import sync_company
    from warehouse.clock import Clock

    failed: list[str] = []
    with open_warehouse() as (settings, warehouse):
        for day in range(1, days + 1):
            console.print(escape(demo_crm.advance(settings, 1)))
            with demo_crm.crm(settings, warehouse), warehouse.connect() as conn:
                for company in demo_crm.companies(settings, conn) if day < days else []:
                    loads = sync_company(warehouse, company, Clock.from_settings(settings), settings)
                    failed += [f"{load.company}, {load.entity}: {load.error}" for load in loads if load.error]
    if failed:
        raise CommandFailed("\n".join(failed))


@demo_app.command("serve")
def demo_serve() -> None:
    """Serve the demo CRM until Ctrl-C."""
    from orchestration.cli import demo_crm

    settings = read_settings()
    with demo_crm.serving(settings) as address:
        console.print(f"The demo CRM answers at {address}; its API is described at {address}/docs. Ctrl-C ends it.")
        demo_crm.wait_for_interrupt()


def _print_next_steps() -> None:
    from pipeline.data_files import is_checkout

    console.print("[bold]What to do next[/bold]")
    churn = ".venv/bin/churn" if is_checkout() else "churn"
    for arguments, purpose in (
        ("ui", "see every step, table and check in Dagster"),
        ("psql -c 'select * from analytics.customer_overview limit 5'", "ask the marts yourself"),
        ("demo advance", f"move the demo a day forward; {churn} demo run then pulls only what changed"),
        ("company check FILE", "try your own CRM, database or files: docs/connect-a-crm.md"),
    ):
        command = f"{churn} {arguments}"
        console.print(f"  {escape(command)}  [dim]{escape(purpose)}[/dim]")
