"""``churn``: what an operator types. Commands are thin; each says what it did, and exits with 1 when it failed."""

import signal
import sys

import typer
from rich.markup import escape

from orchestration import error_reports
from orchestration.cli import demo_crm
from orchestration.cli.canaries import canaries_app
from orchestration.cli.company import company_app, secret_app
from orchestration.cli.dashboards import dashboards_app, report
from orchestration.cli.demo import demo_app
from orchestration.cli.features import features_app, impact
from orchestration.cli.forget import forget
from orchestration.cli.jobs import backfill, run, score, sync, train
from orchestration.cli.models import model_app
from orchestration.cli.notify import notify_app
from orchestration.cli.publication import export, publication_app
from orchestration.cli.server import down, migrate, psql, status, ui, up
from orchestration.cli.terminal import CommandFailed, errors
from orchestration.cli.version import root
from orchestration.cli.watch import drift, grade, holds_app, replay
from pipeline.connectors.errors import ConnectorError
from pipeline.integrations.metabase.errors import MetabaseError
from warehouse.errors import WarehouseError
from warehouse.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.callback()(root)
for command in (up, down, status, migrate, sync, train, score, run, backfill):
    app.command()(command)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(psql)
app.command()(ui)
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
