"""``churn holds`` and ``churn replay``: dates that were held back from publication, and publishing them after all."""

from __future__ import annotations

import getpass
from datetime import date as Date
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from orchestration.cli.options import CompanySlug, Day, OptionalCompany, TaskName
from orchestration.cli.terminal import CommandFailed, chosen_companies, console, open_task, open_warehouse

if TYPE_CHECKING:
    import psycopg

    from pipeline.prediction.tasks import TaskBinding
    from warehouse.companies.definition import Company
    from warehouse.publication.holds import Hold

holds_app = typer.Typer(help="Dates that were held back from publication.")


@holds_app.callback(invoke_without_command=True)
def holds(
    context: typer.Context,
    company: OptionalCompany = None,
    task: TaskName = "churn",
    date: Day = None,
    every: Annotated[bool, typer.Option("--all", help="Those that were released, too.")] = False,
) -> None:
    """List what is held back and why; with a date, whose risk level it would have changed."""
    if context.invoked_subcommand:
        return
    from pipeline.prediction.tasks import task_named
    from warehouse.publication.holds import list_holds, ways_out
    from warehouse.roles import Role

    binding = task_named(task)
    with open_warehouse() as (_, warehouse), warehouse.connect(Role.ml) as conn:
        for each in chosen_companies(warehouse, company, binding):
            holds = list_holds(conn, each.company_id, task, only_open=not every)
            if date:
                holds = [hold for hold in holds if hold.as_of_date == date.date()]
            if not holds:
                console.print(f"{each.slug}: nothing is held.")
                continue
            console.print(_holds_table(each, holds))
            if date:
                console.print(_flips_table(conn, binding, each, date.date()))
            for hold in holds:
                if hold.is_open and not hold.accepted_by:
                    console.print(escape(f"{hold.as_of_date}: {ways_out(each.slug, task, hold.as_of_date)}"))


@holds_app.command("accept")
def holds_accept(
    company: CompanySlug,
    date: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The date that is held.")],
    because: Annotated[str, typer.Option(help="Why this is no outage; it is kept in the audit log.")],
    task: TaskName = "churn",
) -> None:
    """Take what held a date as it is, since it was no outage; the same finding then passes for a week."""
    from warehouse.clock import Clock
    from warehouse.publication.holds import accept

    with open_task(company, task) as (settings, warehouse, held, _), warehouse.connect() as conn:
        now = Clock.from_settings(settings).for_company(held)
        accept(conn, held.company_id, task, date.date(), now, getpass.getuser(), because)
    which = f"--company {company}"
    is_current = date.date() == now.date()
    following = f"score {which}" if is_current else f"replay {which} --task {task} --date {date.date()}"
    console.print(f"Accepted. `churn {escape(following)}` publishes it.")


def replay(company: CompanySlug, date: Day = None, task: TaskName = "churn") -> None:
    """Publish held dates as they would have been had the source been read in time; after its repair.

    The current scores and the feed stay as they are. Ends with 1 where a date is held still.
    """
    from pipeline.features.dbt import prepare_manifest
    from pipeline.prediction.scoring import Scorer
    from pipeline.publication.replay import replay_held_dates
    from warehouse.one_writer import one_writer

    with (
        open_task(company, task) as (settings, warehouse, repaired, binding),
        one_writer(warehouse, f"churn replay --company {company}", say=console.print),
    ):
        prepare_manifest(settings)
        scorer = Scorer.from_settings(binding, warehouse, settings)
        done = replay_held_dates(settings, warehouse, binding, scorer, repaired, date.date() if date else None)
    for day in done.published:
        console.print(f"{company}: {day} is published, as the source said it.")
    if not done.published and not done.held:
        console.print(
            f"{company}: no past date is held. Today's scores are published by `churn score --company {company}`, once "
            "the source is repaired or what held them is accepted."
        )
    if done.held:
        raise CommandFailed(str(done.describe_failure()))


def _holds_table(company: Company, holds: list[Hold]) -> Table:
    table = Table(title=company.slug, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in ("date", "stands", "scores", "would flip", "state", "why"):
        table.add_column(column, justify="right" if column in ("scores", "would flip") else "left", header_style="dim")
    for hold in holds:
        state = hold.release or ("accepted" if hold.accepted_by else "held")
        table.add_row(
            str(hold.as_of_date),
            str(hold.standing_date or "nothing"),
            f"{hold.scores:,}",
            f"{hold.flips:,}",
            f"[{'yellow' if hold.is_open else 'green'}]{state}[/]",
            escape(hold.why),
        )
    return table


def _flips_table(conn: psycopg.Connection, binding: TaskBinding, company: Company, day: Date) -> Table:
    from warehouse.publication.holds import list_flips

    table = Table(binding.task.entity, "stands", "held back", box=None, pad_edge=False, header_style="dim")
    for flip in list_flips(conn, company.company_id, binding.name, day):
        table.add_row(
            escape(flip.entity_id),
            f"{flip.published_level} {flip.published_probability:.1%}",
            f"{flip.held_level} {flip.held_probability:.1%}",
        )
    return table
