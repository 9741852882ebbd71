"""``churn``: what an operator types. Commands are thin; each says what it did, and exits with 1 when it failed."""

import signal
import sys

import typer
from rich.markup import escape

from foundation.errors import ChurnError
from foundation.private_files import write_privately
from orchestration.cli.lazy import Place, lazy_group
from orchestration.cli.terminal import errors
from orchestration.cli.version import root
from orchestration.stopping import Stopped, end, ends_in_time

CLI = "orchestration.cli"

COMMANDS = {
    "try": Place(
        f"{CLI}.try_file:try_file",
        "Who leaves, from one table of customers: a page and a CSV of scores within a minute, without a warehouse.",
    ),
    "init": Place(f"{CLI}.init:init", "Make a project of your own: features and marts beside those that come along."),
    "run": Place(f"{CLI}.jobs:run", "The whole line: sync, features, training where due, scores, dashboards' tables."),
    "status": Place(
        f"{CLI}.server:status",
        "Whether the warehouse runs, and each company's last load, training and published scores.",
    ),
    "doctor": Place(
        f"{CLI}.doctor:doctor",
        "Look whether everything is in place: disk, server, clock, logins, secrets, loads; and say what helps.",
    ),
    "report": Place(
        f"{CLI}.dashboards:report",
        "One company's dashboards as one HTML page that needs no server and no network.",
    ),
    "company": Place(f"{CLI}.company:company_app", "The registry of companies."),
    "demo": Place(f"{CLI}.demo:demo_app", "Three simulated companies and the CRM that serves them."),
    "ui": Place(f"{CLI}.server:ui", "Dagster's UI and its daemon on this warehouse, until Ctrl-C."),
    "sync": Place(f"{CLI}.jobs:sync", "Pull what is new from the CRM."),
    "score": Place(f"{CLI}.jobs:score", "Score and publish from what the warehouse holds, without asking the CRM."),
    "train": Place(
        f"{CLI}.jobs:train", "Train again; a challenger replaces a champion only if it is better on the same rows."
    ),
    "backfill": Place(
        f"{CLI}.jobs:backfill",
        "Build the features and labels of some past dates from scratch, all companies, in one run.",
    ),
    "decide": Place(f"{CLI}.decide:decide_app", "What is best done for customers, within a budget."),
    "export": Place(
        f"{CLI}.publication:export",
        "Stream a company's current scores, a snapshot of its feed, or the changes since a cursor.",
    ),
    "publication": Place(f"{CLI}.publication:publication_app", "The change feed that reverse ETL follows."),
    "model": Place(f"{CLI}.models:model_app", "Models: list them, show one, promote, roll back, read their cards."),
    "record": Place(
        f"{CLI}.record:record",
        "The track record: replay the past months that are missing with what was known then, and show what came of it.",
    ),
    "grade": Place(
        f"{CLI}.watch:grade",
        "Promised against kept: grade the published scores whose labels have matured, and show how they did.",
    ),
    "drift": Place(
        f"{CLI}.watch:drift",
        "How far today's features and scores are from those that the champion learned from.",
    ),
    "holds": Place(f"{CLI}.holds:holds_app", "Dates that were held back from publication."),
    "replay": Place(
        f"{CLI}.holds:replay",
        "Publish held dates as they would have been had the source been read in time; after its repair.",
    ),
    "features": Place(
        f"{CLI}.features:features_app", "What the models read, and the proof that its past stands still."
    ),
    "impact": Place(
        f"{CLI}.features:impact",
        "Say what hangs on a model or a column: models, features, dashboards, published fields.",
    ),
    "dev": Place(f"{CLI}.dev:dev_app", "A place of your own to change SQL in, and what a change does."),
    "dashboards": Place(f"{CLI}.dashboards:dashboards_app", "Metabase dashboards, defined in dashboards/."),
    "notify": Place(f"{CLI}.notify:notify_app", "Alerts and weekly reports to people."),
    "serve": Place(f"{CLI}.serve:serve_app", "Doors for programs, over HTTP."),
    "key": Place(f"{CLI}.keys:key_app", "Keys of the HTTP API: each reads one company."),
    "write-key": Place(f"{CLI}.write_key:write_key_app", "Keys by which web pages and apps send events."),
    "secret": Place(f"{CLI}.secret:secret_app", "Secrets that stand encrypted in a company's definition."),
    "forget": Place(
        f"{CLI}.forget:forget",
        "Erase a customer from every table, tell the feed's followers, and keep them out of later syncs.",
    ),
    "canaries": Place(
        f"{CLI}.canaries:canaries_app", "Marked customers that may appear nowhere outside their company."
    ),
    "backup": Place(
        f"{CLI}.backup:backup", "Write the whole warehouse into one file: database, models, Dagster's history."
    ),
    "restore": Place(
        f"{CLI}.backup:restore", "Fill an empty warehouse from a backup, or rehearse that beside a full one."
    ),
    "up": Place(f"{CLI}.server:up", "Start the warehouse, migrate it, and leave it running until `churn down`."),
    "down": Place(f"{CLI}.server:down", "Stop the embedded Postgres."),
    "psql": Place(
        f"{CLI}.server:psql",
        "Open psql on the warehouse; arguments pass through, as in `churn psql -c 'select 1'`.",
        {"allow_extra_args": True, "ignore_unknown_options": True},
    ),
    "metrics": Place(
        f"{CLI}.metrics:metrics",
        "Serve /metrics for Prometheus until Ctrl-C: ages of scores and loads, failing companies, room, backups.",
    ),
    "migrate": Place(
        f"{CLI}.server:migrate",
        "Bring the warehouse's schema to this version, and write Dagster's and dbt's configuration.",
    ),
}

app = typer.Typer(
    cls=lazy_group(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.callback()(root)


def main() -> None:
    """Run a command; an error that a person can do something about becomes one message and exit code 1."""
    write_privately()
    # A killed command ends as an error does, so that the server it started is not left running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with ends_in_time(signal.SIGTERM):
            app()
    except Exception as error:
        told = error if isinstance(error, ChurnError) else _full_disk(error)
        if told is None:
            raise
        errors.print(f"[red]{escape(str(told))}[/red]")
        if isinstance(told, Stopped):
            end(told.signal)
        sys.exit(1)


def _full_disk(error: Exception) -> ChurnError | None:
    """Of whatever broke for want of room, in whichever library, a person needs to know that only."""
    from warehouse.disk_space import full_disk
    from warehouse.settings import load_settings

    return full_disk(error, load_settings())
