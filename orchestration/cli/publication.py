"""``churn export`` and ``churn publication``: what is published, out to files, counted, and compacted."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console

from orchestration.cli.terminal import TaskName, console, open_warehouse
from pipeline.prediction.tasks import CONTRACTS, task_named
from pipeline.publication.publishing import compact_company
from warehouse.clock import Clock
from warehouse.companies.registry import get_company, list_companies
from warehouse.publication.contract import Contract
from warehouse.publication.export import Exported, Format, reading_as_company
from warehouse.roles import Role

publication_app = typer.Typer(no_args_is_help=True, help="The change feed that reverse ETL follows.")

notes = Console(stderr=True, highlight=False, soft_wrap=True)

CompanySlug = Annotated[str, typer.Option("--company", help="Slug of the company.")]
Since = Annotated[int | None, typer.Option("--since", min=0, help="A cursor: changes after it; 0 is the beginning.")]


def export(
    company: CompanySlug,
    format: Annotated[Format, typer.Option("--format", help="How rows are written.")] = Format.csv,
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
    if snapshot and since is not None:
        raise typer.BadParameter("--snapshot is where following begins, --since is how it goes on: give one of them.")
    with open_warehouse() as (_, warehouse):
        with warehouse.connect() as conn:
            company_id = get_company(conn, company).company_id
        with reading_as_company(warehouse, contract_of(task), company_id) as reader, _opened(output) as file:
            if since is not None:
                done = reader.write_changes(since, file, format)
            elif snapshot:
                done = reader.write_snapshot(file, format)
            else:
                done = reader.write_current(file, format)
    _report(done, follows=snapshot or since is not None)


@publication_app.command("estimate")
def estimate(
    company: CompanySlug,
    since: Since = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Customers that one API call carries.")] = 100,
    calls_per_minute: Annotated[int, typer.Option(min=1, help="Calls that the receiver allows a minute.")] = 60,
    task: TaskName = "churn",
) -> None:
    """The API calls that a sync would make, before any is made: of a snapshot, or since a cursor."""
    with open_warehouse() as (_, warehouse):
        with warehouse.connect() as conn:
            company_id = get_company(conn, company).company_id
        with reading_as_company(warehouse, contract_of(task), company_id) as reader:
            found = reader.estimate(since, batch_size)
    start = "A snapshot" if since is None else f"{found.changes:,} changes since cursor {since}"
    minutes = found.calls / calls_per_minute
    console.print(f"{start}: {found.upserts:,} customers to write and {found.deletes:,} to clear.")
    console.print(f"{found.calls:,} calls of up to {batch_size:,} customers, about {minutes:,.1f} minutes.")


@publication_app.command("compact")
def compact(
    company: Annotated[str | None, typer.Option("--company", help="Slug of one company; all if left out.")] = None,
) -> None:
    """Take out changes older than CHURN_FEED_RETENTION_DAYS, but for each customer's newest; so does `churn run`."""
    with open_warehouse() as (settings, warehouse):
        with warehouse.connect() as conn:
            chosen = [get_company(conn, company)] if company else list_companies(conn, active_only=False)
        clock = Clock.from_settings(settings)
        for one in chosen:
            with warehouse.connect(Role.publisher, autocommit=True) as conn:
                removed = sum(
                    compact_company(conn, settings, contract, one, clock.for_company(one)) for contract in CONTRACTS
                )
            console.print(f"{one.slug}: {removed:,} changes compacted.")


def contract_of(task: str) -> Contract:
    """What a task publishes. Raises UnknownTask."""
    return task_named(task).relations.contract


@contextmanager
def _opened(output: Path) -> Iterator[BinaryIO]:
    """Standard output, or a file that takes its name only when all of it is written."""
    if str(output) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    unfinished = output.with_name(f".{output.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)


def _report(done: Exported, *, follows: bool) -> None:
    notes.print(f"{done.rows:,} rows written.")
    if follows:
        notes.print(f"next cursor: {done.next_cursor}")
