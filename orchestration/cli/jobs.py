"""Commands that run a job of the line, or a part of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from foundation.counting import agreeing
from foundation.imports import lasting_imports
from orchestration.cli.options import NoWait, OptionalCompany, TaskName
from orchestration.cli.terminal import CommandFailed, console, open_task, open_warehouse

if TYPE_CHECKING:
    from warehouse.connection import Warehouse
    from warehouse.settings import Settings


def sync(company: OptionalCompany = None) -> None:
    """Pull what is new from the CRM."""
    _run("sync", company)


def train(
    company: OptionalCompany = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials of settings to search, resumed ones counted; none: no search.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.001, help="Seconds to search settings for.")] = None,
    no_wait: NoWait = False,
) -> None:
    """Train again; a challenger replaces a champion only if it is better on the same rows."""
    from orchestration.automation import TRAINING, for_each_task

    config = {"retrain": "always", "cause": "asked"}
    budget = {name: value for name, value in (("trials", trials), ("seconds", seconds)) if value is not None}
    _run("train", company, for_each_task(TRAINING, {**config, **budget}), no_wait=no_wait)


def score(
    company: OptionalCompany = None,
    customer: Annotated[
        str | None,
        typer.Option("--customer", help="A customer's id: show that one score and its reasons only."),
    ] = None,
    task: TaskName = "churn",
    no_wait: NoWait = False,
) -> None:
    """Score and publish from what the warehouse holds, without asking the CRM.

    With --customer one customer of --company is scored by the champion and shown; nothing is kept or published.
    """
    if customer is None:
        _run("score", company, no_wait=no_wait)
    elif company is None:
        raise CommandFailed("Say whose customer it is: `churn score --company SLUG --customer ID`.")
    else:
        _show_score(company, customer, task)


def run(company: OptionalCompany = None, no_wait: NoWait = False) -> None:
    """The whole line: sync, features, training where due, scores, dashboards' tables."""
    _run("sync_and_score", company, no_wait=no_wait)


def backfill(
    dates: Annotated[
        list[datetime], typer.Argument(metavar="DATE...", formats=["%Y-%m-%d"], help="As 2025-03-01: dates to build.")
    ],
    no_wait: NoWait = False,
) -> None:
    """Build the features and labels of some past dates from scratch, all companies, in one run."""
    days = [moment.date() for moment in dates]
    with open_warehouse() as (settings, warehouse):
        _refuse_days_ahead(settings, warehouse, days)
        config = {"ops": {"dbt_models": {"config": {"as_of_dates": [day.isoformat() for day in days]}}}}
        run_job(settings, warehouse, "backfill_dates", None, config, no_wait=no_wait)


def _refuse_days_ahead(settings: Settings, warehouse: Warehouse, days: Sequence[date]) -> None:
    """Raises CommandFailed where a day lies ahead of every company's clock: its features are not yet known."""
    from warehouse.clock import Clock
    from warehouse.companies.registry import list_companies

    with warehouse.connect() as conn:
        companies = list_companies(conn)
    clock = Clock.from_settings(settings)
    today = max((clock.for_company(company) for company in companies), default=clock.now()).date()
    ahead = sorted(day for day in days if day > today)
    if ahead:
        raise CommandFailed(f"{', '.join(map(str, ahead))} {agreeing(len(ahead), 'lie')} ahead: it is {today} now.")


def _show_score(slug: str, customer: str, task: str) -> None:
    from orchestration.cli.one_customer import describe_score
    from pipeline.features.dbt import prepare_manifest
    from pipeline.prediction.scoring import Scorer

    with open_task(slug, task) as (settings, warehouse, company, binding):
        prepare_manifest(settings)
        score = Scorer.from_settings(binding, warehouse, settings).score_entity(company, customer)
    for line in describe_score(binding, company, score, score["as_of_date"]):
        console.print(escape(line))


def _run(
    job_name: str,
    company: str | None,
    run_config: Mapping[str, object] | None = None,
    *,
    no_wait: bool = False,
) -> None:
    with open_warehouse() as (settings, warehouse):
        run_job(settings, warehouse, job_name, company, run_config, no_wait=no_wait)


def run_job(
    settings: Settings,
    warehouse: Warehouse,
    job_name: str,
    company: str | None,
    run_config: Mapping[str, object] | None = None,
    *,
    no_wait: bool = False,
) -> None:
    """Run a job with its steps shown, print what it did; raises CommandFailed unless all of it went well.

    Waits for another writer, unless ``no_wait``, which raises WarehouseBusy.
    """
    with lasting_imports():
        from orchestration.cli.demo_crm import crm
        from orchestration.cli.summary import print_summary
        from orchestration.job_runner import run_job as run_dagster_job
        from warehouse.one_writer import LONGEST_WAIT, NO_WAIT

    wait = NO_WAIT if no_wait else LONGEST_WAIT
    with crm(settings, warehouse):
        outcome = run_dagster_job(settings, warehouse, job_name, company=company, run_config=run_config, wait=wait)
    console.print()
    with warehouse.connect() as conn:
        print_summary(conn, console, outcome.run_id)
    for check in outcome.failed_checks:
        console.print(f"[yellow]To look at: {escape(check)}[/yellow]")
    if not outcome.success or outcome.failed_companies:
        raise CommandFailed("\n".join([*outcome.errors, *outcome.failed_companies]))
