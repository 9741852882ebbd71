"""``churn write-key``: by which web pages and apps send events."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from orchestration.cli.options import CompanySlug
from orchestration.cli.terminal import console, open_warehouse

write_key_app = typer.Typer(no_args_is_help=True, help="Keys by which web pages and apps send events.")

MOST_EVENT_BYTES = 32 * 1024
EVENTS_PER_SECOND = 1_000


@write_key_app.command("create")
def create(
    company: CompanySlug,
    source: Annotated[str, typer.Option("--source", help="What sends: small letters, such as web_shop.")],
    origin: Annotated[
        list[str] | None,
        typer.Option(help="Origin of pages that may use it, such as https://shop.example; * for every. Repeatable."),
    ] = None,
    consent: Annotated[
        list[str] | None,
        typer.Option(help="Category of consent whose events are taken; all events if left out. Repeatable."),
    ] = None,
    events_per_second: Annotated[int, typer.Option(help="Events that it takes a second.")] = EVENTS_PER_SECOND,
    event_bytes: Annotated[int, typer.Option(help="Bytes of one event, at most 32 KiB.")] = MOST_EVENT_BYTES,
) -> None:
    """Make a key and print it, this once. Without --origin only programs may use it, and no web page."""
    from warehouse.companies.write_keys import create_write_key

    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        key = create_write_key(
            conn,
            company,
            source,
            actor=getpass.getuser(),
            origins=origin or [],
            consent_categories=consent,
            events_per_second=events_per_second,
            event_bytes=event_bytes,
        )
    print(key.text)  # noqa: T201  (to be copied as it is)
    console.print("It is not shown again. Whoever has it may add events, and read nothing.")


@write_key_app.command("list")
def list_keys(
    company: Annotated[str | None, typer.Option("--company", help="Slug of the company; all if left out.")] = None,
) -> None:
    """The keys by their beginnings, with what they allow; revoked ones too."""
    from warehouse.companies.write_keys import list_write_keys

    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        keys = list_write_keys(conn, company)
    if not keys:
        console.print("There is no write key: `churn write-key create` makes one.")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("key", "company", "source", "pages of", "consent", "a second", "made", "revoked"):
        table.add_column(column, overflow="fold")
    for key in keys:
        table.add_row(
            key.prefix,
            key.slug,
            key.source,
            escape(", ".join(key.origins) or "–"),
            escape("any" if key.consent_categories is None else ", ".join(key.consent_categories)),
            str(key.events_per_second),
            f"{key.created_at:%Y-%m-%d}",
            f"{key.revoked_at:%Y-%m-%d}" if key.revoked_at else "–",
        )
    console.print(table)


@write_key_app.command("revoke")
def revoke(
    prefix: Annotated[str, typer.Argument(help="The key's beginning, as `churn write-key list` shows it.")],
) -> None:
    """End a key: collectors stop taking it within ten seconds."""
    from warehouse.companies.write_keys import revoke_write_key

    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        key = revoke_write_key(conn, prefix, actor=getpass.getuser())
    console.print(f"{key.prefix} of {key.slug} ({key.source}) is revoked.")
