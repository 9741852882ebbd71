"""``churn grade``, ``churn drift``, ``churn holds`` and ``churn replay``: whether the scores kept their word."""

import getpass
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from orchestration.cli.terminal import CommandFailed, TaskName, console, open_warehouse
from pipeline.prediction.tasks import task_named
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.registry import companies_with, get_company
from warehouse.connection import Warehouse
from warehouse.prediction.drift_log import DriftRow, read_drift
from warehouse.prediction.score_grades import Grade, read_grades
from warehouse.prediction.shadow_grades import ShadowGrade, read_shadow_grades
from warehouse.publication.holds import Hold, accept, list_flips, list_holds
from warehouse.roles import Role

holds_app = typer.Typer(help="Dates that were held back from publication.")

OneCompany = Annotated[str | None, typer.Option("--company", help="Slug of one company; all active ones if left out.")]
Slug = Annotated[str, typer.Option("--company", help="Slug of the company.")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="One date.")]


def grade(company: OneCompany = None, task: TaskName = "churn") -> None:
    """Promised against kept: grade the published scores whose labels have matured, and show how they did."""
    from pipeline.watching.grades_and_drift import grade_company

    binding = task_named(task)
    with open_warehouse() as (settings, warehouse):
        for each in _chosen(warehouse, company, task):
            done = grade_company(warehouse, binding, each, Clock.from_settings(settings).for_company(each))
            with warehouse.connect(Role.ml) as conn:
                grades = read_grades(conn, each.company_id, task)
                challengers = read_shadow_grades(conn, each.company_id, task)
            if not grades:
                console.print(
                    f"{each.slug}: nothing to grade yet. A score is graded {binding.horizon_days(each)} days after its "
                    "date."
                )
                continue
            console.print(_grades_table(each, grades))
            if challengers:
                console.print(_challengers_table(challengers))
            console.print(f"[dim]{done.graded} graded now, {done.corrected} corrected.[/dim]\n")
    console.print(
        "[dim]Promised: mean probability. Kept: share that came true, with its 95 % interval, which counts customers "
        "and not scores.\nOne column is split at a time; AUC 0.5 is chance, lift 1 is chance.[/dim]"
    )


def drift(
    company: OneCompany = None,
    task: TaskName = "churn",
    every: Annotated[bool, typer.Option("--all", help="Every feature, not only those to look at.")] = False,
) -> None:
    """How far today's features and scores are from those that the champion learned from."""
    from pipeline.prediction.registry import ModelRegistry
    from pipeline.watching.grades_and_drift import measure_company

    with open_warehouse() as (settings, warehouse):
        registry = ModelRegistry(warehouse, settings.home)
        for each in _chosen(warehouse, company, task):
            now = Clock.from_settings(settings).for_company(each)
            done = measure_company(warehouse, registry, task_named(task), each, now)
            if done.status == "not_measured":
                console.print(f"{each.slug}: not measured, {escape(done.note)}")
            with warehouse.connect(Role.ml) as conn:
                measured = read_drift(conn, each.company_id, task)
            if measured:
                as_of_date, rows = measured
                shown = rows if every else [row for row in rows if row.importance is None or row.note]
                console.print(_drift_table(f"{each.slug} · {as_of_date}", shown))
                console.print(f"[dim]{done.drifted} of {done.features} features drifted.[/dim]\n")
    console.print(
        "[dim]PSI: how different the shares of customers per bin are. Usual: what a stable past of this company "
        "reaches; above it is a drift.\nDistance: standard deviations for numbers, else the share of customers that "
        "moved. Weight: the feature's share in the model's reasons.[/dim]"
    )


@holds_app.callback(invoke_without_command=True)
def holds(
    context: typer.Context,
    company: OneCompany = None,
    task: TaskName = "churn",
    date: Day = None,
    every: Annotated[bool, typer.Option("--all", help="Those that were released, too.")] = False,
) -> None:
    """List what is held back and why; with a date, whose risk level it would have changed."""
    if context.invoked_subcommand:
        return
    with open_warehouse() as (_, warehouse), warehouse.connect(Role.ml) as conn:
        for each in _chosen(warehouse, company, task):
            found = list_holds(conn, each.company_id, task, only_open=not every)
            if date:
                found = [hold for hold in found if hold.as_of_date == date.date()]
            if not found:
                console.print(f"{each.slug}: nothing is held.")
                continue
            console.print(_holds_table(each, found))
            if date:
                flips = Table(
                    task_named(task).task.entity, "stands", "held back", box=None, pad_edge=False, header_style="dim"
                )
                for flip in list_flips(conn, each.company_id, task, date.date()):
                    flips.add_row(
                        escape(flip.entity_id),
                        f"{flip.published_level} {flip.published_probability:.1%}",
                        f"{flip.held_level} {flip.held_probability:.1%}",
                    )
                console.print(flips)


@holds_app.command("accept")
def holds_accept(
    company: Slug,
    date: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The date that is held.")],
    because: Annotated[str, typer.Option(help="Why this is no outage; it is kept in the audit log.")],
    task: TaskName = "churn",
) -> None:
    """Take what held a date as it is, since it was no outage; the same finding then passes for a week."""
    with open_warehouse() as (settings, warehouse), warehouse.connect() as conn:
        each = get_company(conn, company)
        now = Clock.from_settings(settings).for_company(each)
        accept(conn, each.company_id, task_named(task).name, date.date(), now, getpass.getuser(), because)
    following = "score" if date.date() == now.date() else "replay"
    console.print(f"Accepted. `churn {following} --company {escape(company)}` publishes it.")


def replay(company: Slug, date: Day = None, task: TaskName = "churn") -> None:
    """Publish held dates as they would have been had the source been read in time; after its repair.

    The current scores and the feed stay as they are. Ends with 1 where a date is held still.
    """
    from pipeline.features.dbt import prepare_manifest
    from pipeline.prediction.scoring import Scorer
    from pipeline.publication.replay import replay_held_dates

    with open_warehouse() as (settings, warehouse):
        prepare_manifest(settings)
        with warehouse.connect() as conn:
            each = get_company(conn, company)
        binding = task_named(task)
        scorer = Scorer.from_settings(binding, warehouse, settings)
        done = replay_held_dates(settings, warehouse, binding, scorer, each, date.date() if date else None)
    for day in done.published:
        console.print(f"{company}: {day} is published, as the source said it.")
    if not done.published and not done.held:
        console.print(f"{company}: no past date is held.")
    if done.held:
        raise CommandFailed(str(done.words_of_failure()))


def _chosen(warehouse: Warehouse, slug: str | None, task: str) -> list[Company]:
    """The company, or all active ones that have the task. Raises UnknownTask where the named one does not have it."""
    with warehouse.connect() as conn:
        if slug is None:
            return companies_with(conn, task_named(task).name)
        company = get_company(conn, slug)
    task_named(task).settings_of(company)
    return [company]


def _grades_table(company: Company, grades: list[Grade]) -> Table:
    table = Table(title=company.slug, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in ("month", "of", "scores", "came true", "promised", "kept", "AUC", "log loss", "lift"):
        table.add_column(column, justify="left" if column in ("month", "of") else "right", header_style="dim")
    for row in _rows_to_show(grades):
        colour = "green" if row.is_kept else "yellow"
        table.add_row(
            f"{row.as_of_month:%Y-%m}" if row.as_of_month else "all",
            escape(_part(row)),
            f"{row.scores:,}",
            f"{row.outcomes:,}",
            f"{row.promised:.1%}",
            f"[{colour}]{row.kept:.1%}[/{colour}] ({row.kept_low:.1%} to {row.kept_high:.1%})",
            "–" if row.auc is None else f"{row.auc:.2f} ({row.auc_low:.2f} to {row.auc_high:.2f})",
            "–" if row.log_loss is None else f"{row.log_loss:.3f}",
            "–" if row.lift_top_decile is None else f"{row.lift_top_decile:.1f}",
        )
    return table


def _challengers_table(grades: list[ShadowGrade]) -> Table:
    """Scores in shadow, published nowhere; each beside the published ones of the same customers and dates."""
    table = Table(title="scored in shadow, on the same rows", title_justify="left", box=None, pad_edge=False)
    for column in ("challenger", "", "scores", "came true", "promised", "kept", "AUC", "log loss"):
        table.add_column(column, justify="left" if column in ("challenger", "") else "right", header_style="dim")
    for row in grades:
        table.add_row(
            escape(row.model_version),
            row.scored_by,
            f"{row.scores:,}",
            f"{row.outcomes:,}",
            f"{row.promised:.1%}",
            f"{row.kept:.1%}",
            "–" if row.auc is None else f"{row.auc:.2f} ({row.auc_low:.2f} to {row.auc_high:.2f})",
            "–" if row.log_loss is None else f"{row.log_loss:.3f}",
        )
    return table


def _rows_to_show(grades: list[Grade]) -> Iterator[Grade]:
    """All parts over all months, and each month as a whole."""
    for row in grades:
        if row.as_of_month is None or _part(row) == "all":
            yield row


def _part(row: Grade) -> str:
    if row.model_version != "all":
        return row.model_version
    if row.segment != "all":
        return f"segment {row.segment}"
    return row.evidence_level.replace("_", " ")


def _drift_table(title: str, rows: list[DriftRow]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in ("feature", "PSI", "usual", "distance", "weight", "missing", ""):
        table.add_column(column, justify="left" if column in ("feature", "") else "right", header_style="dim")
    for row in rows:
        colour = "yellow" if row.is_drifted else "green"
        table.add_row(
            escape(row.label),
            f"[{colour}]{_number(row.psi)}[/{colour}]",
            _number(row.usual),
            _number(row.distance),
            "–" if row.importance is None else f"{row.importance:.0%}",
            "–" if row.share_missing is None else f"{row.share_missing:.0%}",
            escape(row.note),
        )
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


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
            escape("; ".join(f"{reason['name']}: {reason['detail']}" for reason in hold.reasons)),
        )
    return table
