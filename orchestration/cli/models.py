"""``churn model``: which models there are, how good, which one publishes, and changing that."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.markup import escape
from rich.table import Table

from foundation.model_version import ModelVersion
from foundation.private_files import private_file
from orchestration.cli.options import CompanySlug, TaskName
from orchestration.cli.terminal import CommandFailed, console, open_task, writing

if TYPE_CHECKING:
    from pipeline.prediction.champions import Champions, Changed
    from pipeline.prediction.registry import ModelRegistry
    from pipeline.prediction.tasks import TaskBinding
    from warehouse.companies.definition import Company
    from warehouse.connection import Warehouse
    from warehouse.settings import Settings

model_app = typer.Typer(no_args_is_help=True, help="Models: list them, show one, promote, roll back, read their cards.")

Version = Annotated[int | None, typer.Option("--version", help="A version's number; the champion if left out.")]


class Models(NamedTuple):
    """What a command on models works with."""

    settings: Settings
    warehouse: Warehouse
    company: Company
    task: TaskBinding
    registry: ModelRegistry
    champions: Champions

    def chosen(self, number: int | None) -> ModelVersion:
        """The version of the company's model that was asked for, or else its champion."""
        name = self.champions.model_of(self.company)
        wanted = self.registry.champion_version(name) if number is None else ModelVersion(name, number)
        if wanted is None:
            raise CommandFailed(f"{name} has no champion: say which --version.")
        return wanted


@model_app.command("list")
def model_list(company: CompanySlug, task: TaskName = "churn") -> None:
    """Every training of a company and every decision about its champion, newest first."""
    from warehouse.prediction.model_log import promotions, trainings

    with _opened(company, task) as models:
        with models.warehouse.connect() as conn:
            company_id = models.company.company_id
            trained, decided = trainings(conn, company_id, task), promotions(conn, company_id, task)
        if not trained:
            raise CommandFailed(f"{company} was never trained for {task}: run `churn train --company {company}`.")
        champion = models.registry.champion_version(trained[0].model_name)
    table = Table("model", "trained", "cause", "status", "chosen", "")
    for training in trained:
        version = training.version
        publishes = version is not None and version == champion
        table.add_row(
            str(version or training.model_name),
            f"{training.created_at:%Y-%m-%d %H:%M}",
            training.cause or "",
            training.status,
            str(training.decision.get("chosen", "")),
            "[green]champion[/green]" if publishes else "",
        )
    console.print(table)
    for decision in decided:
        step = (
            f"v{decision.from_version} → v{decision.to_version}" if decision.from_version else f"v{decision.to_version}"
        )
        console.print(
            f"{decision.decided_at:%Y-%m-%d %H:%M}  {decision.event:<11} {escape(step)}  {escape(decision.why)}"
            f"  [dim]{escape(decision.actor)}[/dim]"
        )


@model_app.command("show")
def model_show(company: CompanySlug, version: Version = None, task: TaskName = "churn") -> None:
    """A version's candidates with their figures, and what was decided."""
    from pipeline.prediction.card import describe_calibration

    with _opened(company, task) as models:
        wanted = models.chosen(version)
        report = models.registry.report(wanted)
    console.print(f"[bold]{wanted}[/bold]  {report['status']}, rung {report['rung']}")
    table = Table("candidate", "AUC", "average precision", "log loss")
    for candidate, figures in report["evaluations"].items():
        table.add_row(
            candidate + (" (chosen)" if candidate == report["decision"]["chosen"] else ""),
            *(_figure(figures, metric) for metric in ("auc", "average_precision", "log_loss")),
        )
    console.print(table)
    console.print(describe_calibration(report["evaluations"].get(report["decision"]["chosen"]) or {}))
    compared = report["decision"].get("champion")
    if compared:
        console.print(f"Against the champion: {escape(compared['reason'])}.")
    for candidate, error in report["decision"].get("failed", {}).items():
        console.print(f"[yellow]{candidate} failed: {escape(error)}[/yellow]")


@model_app.command("promote")
def model_promote(
    company: CompanySlug,
    version: Annotated[int, typer.Option("--version", help="The version's number.")],
    task: TaskName = "churn",
) -> None:
    """Let a version publish from the next scoring on, whatever the comparison said."""
    with _opened(company, task) as models:
        changed = models.champions.promote(models.company, version, getpass.getuser())
    console.print(_describe_change(changed, company))


@model_app.command("rollback")
def model_rollback(company: CompanySlug, task: TaskName = "churn") -> None:
    """Let the champion before the present one publish again, from the next scoring on."""
    with _opened(company, task) as models:
        changed = models.champions.rollback(models.company, getpass.getuser())
    console.print(_describe_change(changed, company))


@model_app.command("card")
def model_card(
    company: CompanySlug,
    version: Version = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="File to write; below the home folder if left out.")
    ] = None,
    task: TaskName = "churn",
) -> None:
    """Write a version's model card, an HTML page with the company's track record, and say where it is."""
    from pipeline.prediction.card import with_track_record
    from pipeline.prediction.track_record.grading import describe_record
    from warehouse.prediction.track_record import read_record_grades

    with _opened(company, task) as models:
        wanted = models.chosen(version)
        page = models.registry.card(wanted)
        with models.warehouse.connect() as conn:
            grades = read_record_grades(conn, models.company.company_id, task)
        if grades:
            horizon_days = models.task.horizon_days(models.company)
            page = with_track_record(page, describe_record(grades[0], models.task, horizon_days))
        target = output or models.settings.home / "cards" / f"{wanted.name}-v{wanted.number}.html"
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with private_file(target) as file:
            file.write(page.encode())
    console.print(f"{target}")


@model_app.command("repeat")
def model_repeat(company: CompanySlug, version: Version = None, task: TaskName = "churn") -> None:
    """Train a version again from its record, and say whether it gives the same scores; nothing is stored."""
    from pipeline.prediction.training import Trainer

    with _opened(company, task) as models:
        wanted = models.chosen(version)
        trainer = Trainer.from_settings(models.task, models.warehouse, models.settings)
        difference = trainer.repeat(models.company, wanted)
    if difference > 0:
        raise CommandFailed(f"{wanted} trained again gives other scores, by up to {difference:.2g}.")
    console.print(f"{wanted} trained again from its record gives the same scores.")


@contextmanager
def _opened(slug: str, task: str) -> Iterator[Models]:
    from pipeline.prediction.champions import Champions
    from pipeline.prediction.registry import ModelRegistry
    from warehouse.clock import Clock

    with open_task(slug, task) as (settings, warehouse, company, binding):
        registry = ModelRegistry(warehouse, settings.home)
        champions = Champions(binding, warehouse, registry, Clock.from_settings(settings))
        yield Models(settings, warehouse, company, binding, registry, champions)


def _figure(figures: dict[str, float | None], metric: str) -> str:
    value, low, high = figures.get(metric), figures.get(f"{metric}_low"), figures.get(f"{metric}_high")
    if value is None:
        return "–"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _describe_change(changed: Changed, company: str) -> str:
    others = " and every company of its pool" if "-pooled-" in changed.after.name else ""
    before = f"v{changed.before.number}" if changed.before else "none"
    return (
        f"{changed.after} publishes for {company}{others} now, instead of {before}. "
        f"`churn score --company {company}` scores and publishes with it at once."
    )
