"""``churn export`` and ``churn publication``: what is published, out to files, counted, and compacted."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import typer

from foundation.counting import counted
from foundation.errors import about
from foundation.private_files import private_file
from orchestration.cli.options import CompanySlug, TaskName
from orchestration.cli.terminal import chosen_companies, console, open_task, open_warehouse, writing
from orchestration.console import TextConsole

publication_app = typer.Typer(no_args_is_help=True, help="The change feed that reverse ETL follows.")

notes = TextConsole(stderr=True, soft_wrap=True)

FormatName = Literal["csv", "raw-csv", "jsonl", "parquet"]
Since = Annotated[int | None, typer.Option("--since", min=0, help="A cursor: changes after it; 0 is the beginning.")]


def export(
    company: CompanySlug,
    format: Annotated[
        FormatName, typer.Option("--format", help="How rows are written: csv for spreadsheets, raw-csv as it is.")
    ] = "csv",
    since: Since = None,
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="What a follower of the feed holds, with the cursor to go on from.")
    ] = False,
    output: Annotated[Path, typer.Option("--output", help="File to write; - is standard output.")] = Path("-"),
    task: TaskName = "churn",
) -> None:
    """Stream a company's current scores, a snapshot of its feed, or the changes since a cursor.

    A file appears when it is complete. The cursor to go on from is the last line on standard error.
    """
    from warehouse.publication.export import Format, reading_as_company

    if snapshot and since is not None:
        raise typer.BadParameter("--snapshot is where following begins, --since is how it goes on: give one of them.")
    with (
        open_task(company, task) as (_, warehouse, exported, binding),
        reading_as_company(warehouse, binding.relations.contract, exported.company_id) as reader,
        _opened(output) as file,
    ):
        if since is not None:
            done = reader.write_changes(since, file, Format(format))
        elif snapshot:
            done = reader.write_snapshot(file, Format(format))
        else:
            done = reader.write_current(file, Format(format))
    notes.print(f"{counted(done.rows, 'row')} written.")
    if snapshot or since is not None:
        notes.print(f"next cursor: {done.next_cursor}")


@publication_app.command("estimate")
def estimate(
    company: CompanySlug,
    since: Since = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Customers that one API call carries.")] = 100,
    calls_per_minute: Annotated[int, typer.Option(min=1, help="Calls that the receiver allows a minute.")] = 60,
    task: TaskName = "churn",
) -> None:
    """The API calls that a sync would make, before any is made: of a snapshot, or since a cursor."""
    from warehouse.publication.export import reading_as_company

    with (
        open_task(company, task) as (_, warehouse, sent, binding),
        reading_as_company(warehouse, binding.relations.contract, sent.company_id) as reader,
    ):
        calls = reader.estimate(since, batch_size)
    start = "A snapshot" if since is None else f"{counted(calls.changes, 'change')} since cursor {since}"
    minutes = calls.calls / calls_per_minute
    console.print(f"{start}: {counted(calls.upserts, 'customer')} to write and {calls.deletes:,} to clear.")
    console.print(
        f"{counted(calls.calls, 'call')} of up to {counted(batch_size, 'customer')}, about {minutes:,.1f} minutes."
    )


@publication_app.command("compact")
def compact(
    company: Annotated[str | None, typer.Option("--company", help="Slug of one company; all if left out.")] = None,
) -> None:
    """Take out changes older than CHURN_FEED_RETENTION_DAYS, but for each customer's newest; so does `churn run`."""
    from pipeline.prediction.tasks import CONTRACTS
    from pipeline.publication.publishing import compact_company
    from warehouse.clock import Clock
    from warehouse.roles import Role

    with open_warehouse() as (settings, warehouse):
        clock = Clock.from_settings(settings)
        for each in chosen_companies(warehouse, company, active_only=False):
            with about(each.slug), warehouse.connect(Role.publisher, autocommit=True) as conn:
                now = clock.for_company(each)
                removed = sum(compact_company(conn, settings, contract, each, now) for contract in CONTRACTS)
            console.print(f"{each.slug}: {counted(removed, 'change')} compacted.")


@contextmanager
def _opened(output: Path) -> Iterator[BinaryIO]:
    """Standard output, or a file that its owner alone reads, named only when all of it is written."""
    if str(output) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with writing(output), private_file(output) as file:
        yield file
