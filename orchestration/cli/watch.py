"""``churn grade`` and ``churn drift``: whether the scores kept their word, and whether their world has changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from foundation.counting import counted
from foundation.errors import about
from orchestration.cli.options import OptionalCompany, TaskName
from orchestration.cli.terminal import chosen_companies, console, open_warehouse

if TYPE_CHECKING:
    from pipeline.prediction.registry import ModelRegistry
    from pipeline.prediction.tasks import TaskBinding
    from warehouse.clock import Clock
    from warehouse.companies.definition import Company
    from warehouse.connection import Warehouse
    from warehouse.prediction.drift_log import DriftRow
    from warehouse.prediction.score_grades import Grade
    from warehouse.prediction.shadow_grades import ShadowGrade


def grade(company: OptionalCompany = None, task: TaskName = "churn") -> None:
    """Promised against kept: grade the published scores whose labels have matured, and show how they did."""
    from pipeline.prediction.tasks import task_named
    from warehouse.clock import Clock

    binding = task_named(task)
    with open_warehouse() as (settings, warehouse):
        for each in chosen_companies(warehouse, company, binding):
            with about(each.slug):
                _grade(warehouse, binding, each, Clock.from_settings(settings))
    console.print(
        "[dim]Promised: mean probability. Kept: share that came true, with its 95 % interval, which counts customers "
        "and not scores.\nOne column is split at a time; AUC 0.5 is chance, lift 1 is chance.[/dim]"
    )


def drift(
    company: OptionalCompany = None,
    task: TaskName = "churn",
    every: Annotated[bool, typer.Option("--all", help="Every feature, not only those to look at.")] = False,
) -> None:
    """How far today's features and scores are from those that the champion learned from."""
    from pipeline.prediction.registry import ModelRegistry
    from pipeline.prediction.tasks import task_named
    from warehouse.clock import Clock

    binding = task_named(task)
    with open_warehouse() as (settings, warehouse):
        registry = ModelRegistry(warehouse, settings.home)
        for each in chosen_companies(warehouse, company, binding):
            with about(each.slug):
                _measure(warehouse, registry, binding, each, Clock.from_settings(settings), every=every)
    console.print(
        "[dim]PSI: how different the shares of customers per bin are. Usual: what a stable past of this company "
        "reaches; above it is a drift.\nDistance: standard deviations for numbers, else the share of customers that "
        "moved. Weight: the feature's share in the model's reasons.[/dim]"
    )


def _grade(warehouse: Warehouse, binding: TaskBinding, company: Company, clock: Clock) -> None:
    from pipeline.watching.grades_and_drift import grade_company
    from warehouse.prediction.score_grades import read_grades
    from warehouse.prediction.shadow_grades import read_shadow_grades
    from warehouse.roles import Role

    done = grade_company(warehouse, binding, company, clock.for_company(company))
    with warehouse.connect(Role.ml) as conn:
        grades = read_grades(conn, company.company_id, binding.name)
        challengers = read_shadow_grades(conn, company.company_id, binding.name)
    if not grades:
        console.print(
            f"{company.slug}: nothing to grade yet. A score is graded "
            f"{counted(binding.horizon_days(company), 'day')} after its "
            "date."
        )
        return
    console.print(_grades_table(company, grades))
    if challengers:
        console.print(_challengers_table(challengers))
    console.print(f"[dim]{done.graded} graded now, {done.corrected} corrected.[/dim]\n")


def _measure(
    warehouse: Warehouse,
    registry: ModelRegistry,
    binding: TaskBinding,
    company: Company,
    clock: Clock,
    *,
    every: bool,
) -> None:
    from pipeline.watching.grades_and_drift import measure_company
    from warehouse.prediction.drift_log import read_drift
    from warehouse.roles import Role

    done = measure_company(warehouse, registry, binding, company, clock.for_company(company))
    if done.status == "not_measured":
        console.print(f"{company.slug}: not measured, {escape(done.note)}")
    with warehouse.connect(Role.ml) as conn:
        measured = read_drift(conn, company.company_id, binding.name)
    if measured:
        as_of_date, rows = measured
        to_look_at = rows if every else [row for row in rows if row.importance is None or row.note]
        console.print(_drift_table(f"{company.slug} · {as_of_date}", to_look_at))
        console.print(f"[dim]{done.drifted} of {done.features} features drifted.[/dim]\n")


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
