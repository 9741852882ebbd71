"""``churn``: what an operator types. Commands are thin; each says what it did, and exits with 1 when it failed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.markup import escape
from sqlalchemy.engine import make_url

from orchestration import error_reports
from orchestration.cli import demo_crm
from orchestration.cli.canaries import canaries_app
from orchestration.cli.company import company_app, secret_app
from orchestration.cli.dashboards import dashboards_app, report
from orchestration.cli.features import features_app, impact
from orchestration.cli.forget import forget
from orchestration.cli.models import model_app
from orchestration.cli.notify import notify_app
from orchestration.cli.publication import export, publication_app
from orchestration.cli.terminal import CommandFailed, console, errors, open_warehouse
from orchestration.cli.watch import drift, grade, holds_app, replay
from pipeline.connectors.errors import ConnectorError
from pipeline.features.catalogue import PROJECT_DIRECTORY
from pipeline.integrations.metabase.errors import MetabaseError
from warehouse.companies import registry
from warehouse.connection import Warehouse
from warehouse.embedded.server import EmbeddedServer
from warehouse.errors import WarehouseError
from warehouse.migrate import migrate as migrate_warehouse
from warehouse.role_check import roles_out_of_order
from warehouse.settings import Settings, load_settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Who is about to leave, why, what that costs, and whether last month's warnings were right.",
)
demo_app = typer.Typer(no_args_is_help=True, help="Three simulated companies and the CRM that serves them.")
app.add_typer(company_app, name="company")
app.add_typer(secret_app, name="secret")
app.add_typer(dashboards_app, name="dashboards")
app.add_typer(demo_app, name="demo")
app.add_typer(model_app, name="model")
app.add_typer(publication_app, name="publication")
app.command("export")(export)
app.command("report")(report)
app.add_typer(features_app, name="features")
app.add_typer(notify_app, name="notify")
app.command("impact")(impact)
app.command("forget")(forget)
app.add_typer(canaries_app, name="canaries")
app.command("grade")(grade)
app.command("drift")(drift)
app.command("replay")(replay)
app.add_typer(holds_app, name="holds")

OneCompany = Annotated[str | None, typer.Option("--company", help="Slug of one company; all active ones if left out.")]


def main() -> None:
    """Run a command; an expected error becomes one message and exit code 1."""
    # A killed command ends as an error does, so that the server it started is not left running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    expected = (
        WarehouseError,
        ConnectorError,
        MetabaseError,
        demo_crm.DemoError,
        CommandFailed,
    )
    try:
        error_reports.start(load_settings())
        app()
    except expected as error:
        errors.print(f"[red]{escape(str(error))}[/red]")
        sys.exit(1)


@app.command()
def up() -> None:
    """Start the warehouse, migrate it, and leave it running until `churn down`."""
    settings = load_settings()
    if settings.database_url is None:
        EmbeddedServer(settings.home).start(pin=True)
    with open_warehouse() as (_, warehouse):
        profile = warehouse.write_dbt_profile(PROJECT_DIRECTORY)
        console.print(f"The warehouse is up at {warehouse.place}; `churn psql` opens it.")
        console.print(f"dbt's profile stands in {profile}: `dbt build` works in {PROJECT_DIRECTORY.name}/.")


@app.command()
def down(
    force: Annotated[bool, typer.Option(help="Stop it even while another command uses it.")] = False,
) -> None:
    """Stop the embedded Postgres."""
    settings = load_settings()
    if settings.database_url is not None:
        raise CommandFailed("CHURN_DATABASE_URL is set: that Postgres is not ours to stop.")
    EmbeddedServer(settings.home).stop(force=force)
    console.print("The warehouse is stopped.")


@app.command()
def status() -> None:
    """Whether the warehouse runs, and each company's last load, training and published scores."""
    from orchestration.cli.summary import print_status

    settings = load_settings()
    if settings.database_url is None:
        server = EmbeddedServer(settings.home).status()
        place = f" at 127.0.0.1:{server.port}" if server.port else ""
        console.print(f"Embedded Postgres in {settings.home}: {server.state}{place}")
        if server.state != "running":
            console.print("`churn up` starts it.")
            return
    with Warehouse.open(settings) as warehouse, warehouse.connect() as conn:
        print_status(conn, console)


@app.command()
def migrate() -> None:
    """Bring the warehouse's schema to this version, and write Dagster's and dbt's configuration."""
    from orchestration import dagster_home
    from orchestration.dbt_assets import prepare_manifest, profiles_directory

    with open_warehouse() as (settings, warehouse):
        revision = migrate_warehouse(warehouse)
        with warehouse.connect() as conn:
            for line in roles_out_of_order(conn):
                console.print(f"[yellow]To look at: {escape(line)}[/yellow]")
        home = dagster_home.write(settings, warehouse)
        warehouse.write_dbt_profile(profiles_directory(settings))
        prepare_manifest(settings)
    console.print(f"The warehouse is at revision {revision}; Dagster's home is {home}.")


@app.command()
def sync(company: OneCompany = None) -> None:
    """Pull what is new from the CRM."""
    _run("sync", company)


@app.command()
def train(
    company: OneCompany = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials of settings to search, resumed ones counted; none: no search.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.001, help="Seconds to search settings for.")] = None,
) -> None:
    """Train anew; a challenger replaces a champion only if it is better on the same rows."""
    config = {"retrain": "always", "cause": "asked"}
    budget = {name: value for name, value in (("trials", trials), ("seconds", seconds)) if value is not None}
    _run("train", company, {"ops": {"train_churn_models": {"config": {**config, **budget}}}})


@app.command()
def score(
    company: OneCompany = None,
    customer: Annotated[
        str | None, typer.Option("--customer", help="A customer's id: show that one score with its reasons, no more.")
    ] = None,
) -> None:
    """Score and publish from what the warehouse holds, without asking the CRM.

    With --customer one customer of --company is scored by the champion and shown; nothing is kept or published.
    """
    if customer is None:
        _run("score", company)
    elif company is None:
        raise CommandFailed("Say whose customer it is: `churn score --company SLUG --customer ID`.")
    else:
        _show_score(company, customer)


@app.command()
def run(company: OneCompany = None) -> None:
    """The whole line: sync, features, training where due, scores, dashboards' tables."""
    _run("sync_and_score", company)


@app.command()
def backfill(
    dates: Annotated[list[str], typer.Argument(metavar="DATE...", help="As 2025-03-01: dates to build anew.")],
) -> None:
    """Build the features and labels of some past dates anew, all companies, in one run."""
    _run("backfill_dates", None, {"ops": {"dbt_models": {"config": {"as_of_dates": dates}}}})


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> None:
    """Open psql on the warehouse; arguments pass through, as in `churn psql -c 'select 1'`."""
    settings = load_settings()
    with Warehouse.open(settings) as warehouse:
        done = subprocess.run(  # noqa: S603 - psql from our own wheel, or the one on PATH
            [_psql(settings), *context.args],
            env={**os.environ, **_libpq_environment(warehouse)},
            check=False,
        )
    raise typer.Exit(done.returncode)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of Dagster's UI.")] = 3000,
) -> None:
    """Dagster's UI and its daemon on this warehouse, until Ctrl-C."""
    from orchestration import dagster_home
    from orchestration.dbt_assets import prepare_manifest, profiles_directory

    # Started in the background of a script, we would ignore interrupts, and Dagster with us.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open_warehouse() as (settings, warehouse), _crm(settings, warehouse):
        warehouse.write_dbt_profile(profiles_directory(settings))
        prepare_manifest(settings)
        home = dagster_home.write(settings, warehouse)
        console.print(f"Dagster's UI: http://127.0.0.1:{port} (Ctrl-C ends it)")
        dagster = subprocess.Popen(  # noqa: S603 - our own interpreter; no thread runs yet
            [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port), "--log-level", "warning"],
            cwd=PROJECT_DIRECTORY.parent,
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


@demo_app.command("run")
def demo_run(
    customers: Annotated[
        int | None, typer.Option(help="Customers in all, when the world is built; 3,590 if left out.")
    ] = None,
) -> None:
    """Build the demo world, register its companies, serve their CRM, and run the whole line on them."""
    settings = load_settings()
    if customers is not None:
        console.print(escape(demo_crm.build(settings, "--customers", str(customers))))
    elif not demo_crm.is_built(settings):
        console.print(escape(demo_crm.build(settings)))
    with open_warehouse() as (settings, warehouse):
        with warehouse.connect() as conn:
            _register_demo(settings, conn)
        _run_job(settings, warehouse, "sync_and_score", None)
    _print_next_steps()


@demo_app.command("advance")
def demo_advance(
    days: Annotated[int, typer.Option(min=1, help="Days to move the demo's clock forward.")] = 1,
) -> None:
    """Move the demo's clock forward; `make run` then pulls and scores what changed.

    Each day but the last is synced on the way, as a warehouse that runs every day would have done.
    """
    from pipeline.loading.sync import sync_company
    from warehouse.clock import Clock

    with open_warehouse() as (settings, warehouse):
        for day in range(1, days + 1):
            console.print(escape(demo_crm.advance(settings, 1)))
            with _crm(settings, warehouse), warehouse.connect() as conn:
                for company in _demo_companies(settings, conn) if day < days else []:
                    sync_company(warehouse, company, Clock.from_settings(settings), settings)


@demo_app.command("serve")
def demo_serve() -> None:
    """Serve the demo CRM until Ctrl-C."""
    settings = load_settings()
    with demo_crm.serving(settings) as address:
        console.print(f"The demo CRM answers at {address}; its API is described at {address}/docs. Ctrl-C ends it.")
        demo_crm.wait_for_interrupt()


def _show_score(slug: str, customer: str) -> None:
    from ml_assets.errors import ModelError
    from orchestration.cli.one_customer import describe_score
    from orchestration.dbt_assets import prepare_manifest
    from pipeline.prediction.registry import RegistryError
    from pipeline.prediction.scoring import ChurnScorer
    from warehouse.prediction.feature_store import FeaturesNotBuilt

    with open_warehouse() as (settings, warehouse):
        with warehouse.connect() as conn:
            company = registry.get_company(conn, slug)
        prepare_manifest(settings)
        try:
            found = ChurnScorer.from_settings(warehouse, settings).score_customer(company, customer)
        except (ModelError, RegistryError, FeaturesNotBuilt) as error:
            raise CommandFailed(f"{slug}: {error}") from error
    for line in describe_score(company, found, found["as_of_date"]):
        console.print(escape(line))


def _run(job_name: str, company: str | None, run_config: Mapping[str, object] | None = None) -> None:
    with open_warehouse() as (settings, warehouse):
        _run_job(settings, warehouse, job_name, company, run_config)


def _run_job(
    settings: Settings,
    warehouse: Warehouse,
    job_name: str,
    company: str | None,
    run_config: Mapping[str, object] | None = None,
) -> None:
    """Run a job with its steps shown, print what it did; raises CommandFailed unless all of it went well."""
    from orchestration.cli.summary import print_summary
    from orchestration.job_runner import run_job

    with _crm(settings, warehouse):
        outcome = run_job(settings, warehouse, job_name, company=company, run_config=run_config)
    console.print()
    with warehouse.connect() as conn:
        print_summary(conn, console, outcome.run_id)
    for check in outcome.failed_checks:
        console.print(f"[yellow]To look at: {escape(check)}[/yellow]")
    if not outcome.success or outcome.failed_companies:
        raise CommandFailed("\n".join([*outcome.errors, *outcome.failed_companies]))


def _register_demo(settings: Settings, conn: registry.Connection) -> None:
    known = {company.slug for company in registry.list_companies(conn, active_only=False)}
    for definition in demo_crm.definitions(settings):
        if definition.slug not in known:
            company = registry.add_company(conn, definition, actor="demo")
            console.print(f"{company.name} is registered as company {company.company_id}.")


def _demo_companies(settings: Settings, conn: registry.Connection) -> list[registry.Company]:
    slugs = {definition.slug for definition in demo_crm.definitions(settings)}
    return [company for company in registry.list_companies(conn) if company.slug in slugs]


@contextmanager
def _crm(settings: Settings, warehouse: Warehouse) -> Iterator[None]:
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


def _psql(settings: Settings) -> str:
    return "psql" if settings.database_url else str(EmbeddedServer.program("psql"))


def _libpq_environment(warehouse: Warehouse) -> dict[str, str]:
    """How libpq finds the warehouse, without a password among the arguments that other users can list."""
    url = make_url(warehouse.url(driver="postgresql"))
    return {
        "PGHOST": url.host or "",
        "PGPORT": str(url.port or 5432),
        "PGUSER": url.username or "",
        "PGPASSWORD": str(url.password or ""),
        "PGDATABASE": url.database or "",
    }


def _print_next_steps() -> None:
    console.print("[bold]What to do next[/bold]")
    for command, words in (
        ("make ui", "see every step, table and check in Dagster"),
        (
            ".venv/bin/churn psql -c 'select * from analytics.customer_overview limit 5'",
            "ask the marts yourself",
        ),
        (
            ".venv/bin/churn demo advance",
            "move the demo a day forward; make run then pulls only what changed",
        ),
        ("docs/connect-a-crm.md", "connect your own CRM, database or files"),
    ):
        console.print(f"  {escape(command)}  [dim]{escape(words)}[/dim]")
