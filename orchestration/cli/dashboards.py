"""``churn dashboards`` and ``churn report``: what BI users see, in Metabase and as a page."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from orchestration.cli.options import CompanySlug
from orchestration.cli.terminal import CommandFailed, console, open_company, open_warehouse, read_settings, writing

dashboards_app = typer.Typer(no_args_is_help=True, help="Metabase dashboards, defined in dashboards/.")


@dashboards_app.command("plan")
def dashboards_plan() -> None:
    """What an apply would change in Metabase, drift made by hand included; writes nothing."""
    from pipeline.telling.dashboards import apply_dashboards

    with open_warehouse() as (settings, warehouse):
        for line in apply_dashboards(settings, warehouse, plan=True):
            console.print(escape(line))


@dashboards_app.command("apply")
def dashboards_apply() -> None:
    """Bring Metabase's dashboards, connections and groups in line with the files under dashboards/."""
    from pipeline.telling.dashboards import apply_dashboards

    with open_warehouse() as (settings, warehouse):
        for line in apply_dashboards(settings, warehouse):
            console.print(escape(line))


@dashboards_app.command("verify")
def dashboards_verify() -> None:
    """Run every card as every company, compare with SQL, and see that nobody reads another's."""
    from pipeline.telling.dashboards import verify_dashboards

    with open_warehouse() as (settings, warehouse):
        for line in verify_dashboards(settings, warehouse):
            console.print(escape(line))


@dashboards_app.command("key")
def dashboards_key() -> None:
    """Make an administrator's API key in Metabase and print it, once; the one that was made before ends."""
    from pipeline.integrations.metabase.api_key import make_api_key

    typer.echo(make_api_key(read_settings()))


@dashboards_app.command("exposures")
def dashboards_exposures() -> None:
    """Write dbt's exposures again from the files under dashboards/, so that lineage ends at the dashboards."""
    from pipeline.data_files import is_checkout
    from pipeline.telling.exposures import EXPOSURES_FILE, write_exposures

    if not is_checkout():
        raise CommandFailed("Exposures are written into a checkout: what is installed here carries its own.")
    changed = write_exposures()
    console.print(f"{EXPOSURES_FILE.name} {'is written again' if changed else 'says so already'}.")


def report(
    company: CompanySlug,
    month: Annotated[
        str | None, typer.Option("--month", help="Last month to show, as 2026-09; the newest if left out.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="File to write; churn-<company>.html if left out.")
    ] = None,
) -> None:
    """One company's dashboards as one HTML page that needs no server and no network."""
    from pipeline.telling.report import write_report

    last_day = _month(month)
    path = output or Path(f"churn-{company}{f'-{month}' if month else ''}.html")
    with open_company(company) as (settings, warehouse, _), writing(path):
        write_report(settings, warehouse, company, path, last_month=last_day)
    console.print(f"The report is {escape(str(path))}.")


def _month(text: str | None) -> date | None:
    """The first day of a month written as 2026-09; raises CommandFailed for anything else."""
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007 - a month has no time zone
    except ValueError:
        raise CommandFailed(f"--month {text}: write a month as 2026-09.") from None
