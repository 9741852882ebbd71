"""``churn record``: what would have been said of past months, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from foundation.counting import counted
from foundation.errors import about
from orchestration.cli.options import NoWait, OptionalCompany, TaskName
from orchestration.cli.terminal import chosen_companies, console, open_warehouse

if TYPE_CHECKING:
    from pipeline.prediction.tasks import TaskBinding
    from warehouse.companies.definition import Company
    from warehouse.connection import Warehouse
    from warehouse.prediction.track_record import RecordGrade


def record(
    company: OptionalCompany = None,
    task: TaskName = "churn",
    months: Annotated[
        int | None, typer.Option(min=1, help="Only so many of the newest months; as far as history allows if left out.")
    ] = None,
    no_wait: NoWait = False,
) -> None:
    """The track record: replay the past months that are missing with what was known then, and show what came of it.

    Takes the time it takes, where a daily run keeps to a share. The next run shows it on the dashboards.
    """
    from pipeline.features.dbt import prepare_manifest, write_profile
    from pipeline.prediction.tasks import task_named
    from pipeline.prediction.track_record.grading import grade_record
    from pipeline.prediction.track_record.replaying import Replayer
    from warehouse.clock import Clock
    from warehouse.one_writer import LONGEST_WAIT, NO_WAIT, one_writer

    binding = task_named(task)
    with open_warehouse() as (settings, warehouse):
        chosen = chosen_companies(warehouse, company, binding)
        wait = NO_WAIT if no_wait else LONGEST_WAIT
        with one_writer(warehouse, "churn record", wait=wait, say=console.print):
            write_profile(settings, warehouse)
            prepare_manifest(settings)
            replayer = Replayer.from_settings(binding, warehouse, settings)
            for each in chosen:
                with about(each.slug):
                    done = replayer.replay(each, seconds=None, newest=months)
                    grade_record(warehouse, binding, each, Clock.from_settings(settings).for_company(each))
                    _show(warehouse, binding, each, done.months)
    console.print(
        "[dim]Replayed: each month scored by a model that had learned only from what was known then; never published.\n"
        "At high risk: scores of that level, and how many of them came true. Named: of those with the outcome, who had "
        "been at high risk.[/dim]"
    )


def _show(warehouse: Warehouse, binding: TaskBinding, company: Company, replayed: int) -> None:
    from pipeline.prediction.track_record.grading import describe_record
    from warehouse.prediction.track_record import read_record_grades

    with warehouse.connect() as conn:
        grades = read_record_grades(conn, company.company_id, binding.name)
    if not grades:
        console.print(
            f"{company.slug}: no past month can be graded yet. The first is the one at which an outcome was known, and "
            f"it is graded {counted(binding.horizon_days(company), 'day')} later."
        )
        return
    console.print(_table(company, grades))
    console.print(escape(describe_record(grades[0], binding, binding.horizon_days(company))))
    console.print(f"[dim]{counted(replayed, 'month')} replayed now.[/dim]\n")


def _table(company: Company, grades: list[RecordGrade]) -> Table:
    table = Table(title=f"{company.slug}, replayed", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in ("month", "scores", "at high risk", "came true", "with outcome", "named", "promised", "kept", "AUC"):
        table.add_column(column, justify="left" if column == "month" else "right", header_style="dim")
    for row in grades:
        table.add_row(
            f"{row.as_of_month:%Y-%m}" if row.as_of_month else f"{row.first_month:%Y-%m} to {row.last_month:%Y-%m}",
            f"{row.scores:,}",
            f"{row.high_risk:,}",
            "–" if row.high_risk_kept is None else f"{row.high_risk_kept:.0%}",
            f"{row.entities_with_outcome:,}",
            "–" if row.named_share is None else f"{row.named_share:.0%}",
            f"{row.promised:.1%}",
            f"{row.kept:.1%} ({row.kept_low:.1%} to {row.kept_high:.1%})",
            "–" if row.auc is None else f"{row.auc:.2f}",
        )
    return table
