"""``churn key``: keys of the HTTP API."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from foundation.counting import counted
from orchestration.cli.options import CompanySlug
from orchestration.cli.terminal import CommandFailed, console, errors, open_company, open_warehouse

key_app = typer.Typer(no_args_is_help=True, help="Keys of the HTTP API: each reads one company.")

DAYS, LONGEST_DAYS = 365, 3_650


@key_app.command("create")
def key_create(
    company: CompanySlug,
    scope: Annotated[
        list[str] | None, typer.Option(help="read, or score too (scores on demand); give it twice for both.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=LONGEST_DAYS, help="Days until it expires.")] = DAYS,
    requests_per_minute: Annotated[int, typer.Option(min=1, max=1_000_000, help="Requests that it may make.")] = 600,
    note: Annotated[str, typer.Option(help="What it is for; `churn key list` shows it.")] = "",
) -> None:
    """Make a key that reads one company, and print it: it is shown this once and kept nowhere."""
    from warehouse.companies.api_keys import SCOPES, create_key

    scopes = [each for each in SCOPES if each in (scope or ["read"])]
    if strangers := sorted({*(scope or [])} - {*SCOPES}):
        raise CommandFailed(f"There is no scope {', '.join(strangers)}: name {' or '.join(SCOPES)}.")
    if len(note) > 200:
        raise CommandFailed("A note has at most 200 characters.")
    expires_at = datetime.now(UTC) + timedelta(days=days)
    with open_company(company) as (_, warehouse, _), warehouse.connect() as conn:
        key = create_key(
            conn,
            company,
            scopes=scopes,
            expires_at=expires_at,
            requests_per_minute=requests_per_minute,
            note=note,
            actor=getpass.getuser(),
        )
    print(key.text, flush=True)  # noqa: T201  (a long line that must not be wrapped or styled)
    # Beside it, so that a script has the key alone.
    errors.print(
        f"Of {company}, for {' and '.join(scopes)}, until {expires_at:%Y-%m-%d}. Keep it now: it is not shown again. "
        f"`churn key revoke {key.prefix}` ends it."
    )


@key_app.command("list")
def key_list(
    company: Annotated[str | None, typer.Option(help="The keys of this company alone.")] = None,
) -> None:
    """Every key by its prefix: whose it is, what it may do, until when, and when it was last used."""
    from rich.markup import escape
    from rich.table import Table

    from warehouse.companies.api_keys import list_keys

    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        keys = list_keys(conn, company)
    if not keys:
        console.print("There are no keys: `churn key create --company SLUG` makes one.")
        return
    table = Table("Key", "Company", "For", "A minute", "Made", "Expires", "Last used", "Note")
    now = datetime.now(UTC)
    for key in keys:
        ends = f"{key.expires_at:%Y-%m-%d}"
        state = "revoked" if key.revoked_at else "expired" if key.expires_at <= now else ends
        table.add_row(
            *(key.key_prefix, key.slug, ", ".join(key.scopes), str(key.requests_per_minute)),
            *(f"{key.created_at:%Y-%m-%d} by {escape(key.created_by)}", state),
            *(f"{key.used_at:%Y-%m-%d %H:%M}" if key.used_at else "never", escape(key.note)),
        )
    console.print(table)
    console.print(f"{counted(len(keys), 'key')}.")


@key_app.command("revoke")
def key_revoke(
    prefix: Annotated[str, typer.Argument(help="The key's prefix, as `churn key list` shows it.")],
) -> None:
    """End a key at once, with the sessions that read for it."""
    from warehouse.companies.api_keys import revoke_key

    # A whole key, pasted, is not repeated on the terminal.
    shown = "_".join(prefix.split("_")[:2])
    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        key = revoke_key(conn, shown, getpass.getuser())
    console.print(f"{key.key_prefix} of {key.slug} is revoked.")
