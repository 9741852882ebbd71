"""Commands that run a job of the line, or a part of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.markup import escape

from orchestration.cli import demo_crm
from orchestration.cli.terminal import CommandFailed, TaskName, console, open_warehouse
from pipeline.prediction.tasks import task_named
from warehouse.companies import registry
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.settings import Settings

OneCompany = Annotated[str | None, typer.Option("--company", help="Slug of one company; all active ones if left out.")]


def sync(company: OneCompany = None) -> None:
    """Pull what is new from the CRM."""
    _run("sync", company)


def train(
    company: OneCompany = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials of settings to search, resumed ones counted; none: no search.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.001, help="Seconds to search settings for.")] = None,
) -> None:
    """Train anew; a challenger replaces a champion only if it is better on the same rows."""
    from orchestration.automation import TRAINING, for_each_task

    config = {"retrain": "always", "cause": "asked"}
    budget = {name: value for name, value in (("trials", trials), ("seconds", seconds)) if value is not None}
    _run("train", company, for_each_task(TRAINING, {**config, **budget}))


def score(
    company: OneCompany = None,
    customer: Annotated[
        str | None, typer.Option("--customer", help="A customer's id: show that one score with its reasons, no more.")
    ] = None,
    task: TaskName = "churn",
) -> None:
    """Score and publish from what the warehouse holds, without asking the CRM.

    With --customer one customer of --company is scored by the champion and shown; nothing is kept or published.
    """
    if customer is None:
        _run("score", company)
    elif company is None:
        raise CommandFailed("Say whose customer it is: `churn score --company SLUG --customer ID`.")
    else:
        _show_score(company, customer, task)


def run(company: OneCompany = None) -> None:
    """The whole line: sync, features, training where due, scores, dashboards' tables."""
    _run("sync_and_score", company)


def backfill(
    dates: Annotated[list[str], typer.Argument(metavar="DATE...", help="As 2025-03-01: dates to build anew.")],
) -> None:
    """Build the features and labels of some past dates anew, all companies, in one run."""
    _run("backfill_dates", None, {"ops": {"dbt_models": {"config": {"as_of_dates": dates}}}})


def _show_score(slug: str, customer: str, task: str) -> None:
    from ml_assets.errors import ModelError
    from orchestration.cli.one_customer import describe_score
    from pipeline.features.dbt import prepare_manifest
    from pipeline.prediction.registry import RegistryError
    from pipeline.prediction.scoring import Scorer
    from warehouse.prediction.feature_store import FeaturesNotBuilt

    binding = task_named(task)
    with open_warehouse() as (settings, warehouse):
        with warehouse.connect() as conn:
            company = registry.get_company(conn, slug)
        prepare_manifest(settings)
        try:
            found = Scorer.from_settings(binding, warehouse, settings).score_entity(company, customer)
        except (ModelError, RegistryError, FeaturesNotBuilt) as error:
            raise CommandFailed(f"{slug}: {error}") from error
    for line in describe_score(binding, company, found, found["as_of_date"]):
        console.print(escape(line))


def _run(job_name: str, company: str | None, run_config: Mapping[str, object] | None = None) -> None:
    with open_warehouse() as (settings, warehouse):
        run_job(settings, warehouse, job_name, company, run_config)


def run_job(
    settings: Settings,
    warehouse: Warehouse,
    job_name: str,
    company: str | None,
    run_config: Mapping[str, object] | None = None,
) -> None:
    """Run a job with its steps shown, print what it did; raises CommandFailed unless all of it went well."""
    from orchestration.cli.summary import print_summary
    from orchestration.job_runner import run_job as run_dagster_job

    with crm(settings, warehouse):
        outcome = run_dagster_job(settings, warehouse, job_name, company=company, run_config=run_config)
    console.print()
    with warehouse.connect() as conn:
        print_summary(conn, console, outcome.run_id)
    for check in outcome.failed_checks:
        console.print(f"[yellow]To look at: {escape(check)}[/yellow]")
    if not outcome.success or outcome.failed_companies:
        raise CommandFailed("\n".join([*outcome.errors, *outcome.failed_companies]))


def demo_companies(settings: Settings, conn: registry.Connection) -> list[Company]:
    slugs = {definition.slug for definition in demo_crm.definitions(settings)}
    return [company for company in registry.list_companies(conn) if company.slug in slugs]


@contextmanager
def crm(settings: Settings, warehouse: Warehouse) -> Iterator[None]:
    """The demo CRM, served while the context lasts if there is a demo; its companies know its address."""
    if not demo_crm.is_built(settings):
        yield
        return
    with demo_crm.serving(settings) as address:
        with warehouse.connect() as conn:
            _match_demo(settings, conn, address)
        yield


def _match_demo(settings: Settings, conn: registry.Connection, address: str) -> None:
    """Bring the registered demo companies in line with the demo; one that was disabled stays so."""
    active = {company.slug for company in registry.list_companies(conn)}
    for definition in demo_crm.definitions(settings, address):
        if definition.slug in active:
            registry.add_company(conn, definition, actor="demo")
