"""``churn canaries``: whether a company's customers stand anywhere outside it."""

import typer

from orchestration.cli.terminal import CommandFailed, console, open_warehouse

canaries_app = typer.Typer(no_args_is_help=True, help="Marked customers that may appear nowhere outside their company.")


@canaries_app.command("check")
def canaries_check() -> None:
    """Look for canaries in all tables, files and logs, and at the roles; exits with 1 if anything is wrong."""
    from pipeline.watching.canaries import look_round

    with open_warehouse() as (settings, warehouse):
        watched = look_round(settings, warehouse)
    for slug in watched.unmarked:
        console.print(f"[yellow]{slug} has no canary: its customers' ids are short and stand alone.[/yellow]")
    if watched.alarms:
        raise CommandFailed("\n".join(watched.alarms))
    console.print(f"{watched.canaries} canaries, none of them outside its company; the roles are as they should be.")
