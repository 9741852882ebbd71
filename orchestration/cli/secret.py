"""``churn secret``: the secrets that rows of the registry refer to."""

import getpass
import sys
from typing import Annotated

import typer

from foundation.counting import counted
from orchestration.cli.terminal import CommandFailed, console, open_warehouse, read_settings

secret_app = typer.Typer(no_args_is_help=True, help="Secrets that stand encrypted in a company's definition.")


@secret_app.command("encrypt")
def secret_encrypt(
    company: Annotated[
        str | None,
        typer.Option(help="The slug of the company whose definition will hold it; none: our own settings will."),
    ] = None,
) -> None:
    """Print the reference that stands for a company's secret, to put into its definition. Needs CHURN_SECRET_KEY.

    It opens in that company's definition and in no other.

    The secret is asked for without showing it, or read from standard input: never from the command line, which
    other users can see and the shell remembers.
    """
    from warehouse.secrets import encrypt_secret

    settings = read_settings()
    given = getpass.getpass("Secret: ") if sys.stdin.isatty() else sys.stdin.read()
    secret = given.strip()
    if not secret:
        raise CommandFailed("No secret was given: type it, or pipe it in.")
    print(encrypt_secret(secret, settings, company or ""))  # noqa: T201  (a long line that must not be wrapped or styled)


@secret_app.command("rotate")
def secret_rotate() -> None:
    """Encrypt every company's secrets with CHURN_SECRET_KEY; CHURN_SECRET_KEY_PREVIOUS opens those of before."""
    from warehouse.companies.key_rotation import rotate_secrets

    with open_warehouse() as (settings, warehouse), warehouse.connect() as conn:
        rotated = rotate_secrets(conn, settings, actor=getpass.getuser())
    for slug, fields in rotated.items():
        console.print(f"{slug}: {', '.join(fields)}")
    count = sum(map(len, rotated.values()))
    console.print(
        f"{counted(count, 'secret')} encrypted again." if count else "Every secret is under today's key already."
    )
    if settings.secret_key_previous is not None:
        console.print("CHURN_SECRET_KEY_PREVIOUS is no longer needed here.")
