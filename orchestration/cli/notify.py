"""``churn notify``: who is told what, and what was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from orchestration.cli.terminal import CommandFailed, console, open_company, open_warehouse

if TYPE_CHECKING:
    from pipeline.integrations.notifications.sending import Sent

notify_app = typer.Typer(no_args_is_help=True, help="Alerts and weekly reports to people.")


@notify_app.command("test")
def notify_test(
    slug: Annotated[str, typer.Argument(metavar="COMPANY", help="The company whose addresses are tried.")],
) -> None:
    """Send a test message to each of a company's addresses."""
    from pipeline.integrations.notifications.sending import send_test

    with open_company(slug) as (settings, _, company):
        if not company.notification_addresses:
            raise CommandFailed(f"{slug} has no notification_addresses: `churn company change {slug}` sets them.")
        _show(send_test(settings, company))


@notify_app.command("send")
def notify_send(
    again: Annotated[
        bool, typer.Option("--again", help="Tell once more what doubtful messages held: they may have arrived.")
    ] = False,
) -> None:
    """Tell people what they have not been told yet, and send the weekly reports that are due."""
    from pipeline.telling.notifying import send_all
    from warehouse.logs.notifications import give_up_doubtful

    with open_warehouse() as (settings, warehouse):
        if again:
            with warehouse.connect() as conn:
                console.print(f"{give_up_doubtful(conn)} doubtful messages are told again.")
        _show(send_all(settings, warehouse))


@notify_app.command("list")
def notify_list(
    limit: Annotated[int, typer.Option(min=1, help="Messages shown, the newest first.")] = 20,
) -> None:
    """The newest messages and how they fared, and what waits to be told."""
    from pipeline.integrations.notifications.sending import pending
    from warehouse.logs.notifications import list_messages

    with open_warehouse() as (settings, warehouse):
        with warehouse.connect() as conn:
            messages = list_messages(conn, limit)
        waiting = pending(warehouse, settings)
    table = Table(title="Messages", title_justify="left", header_style="dim", box=None, pad_edge=False)
    for title in ("at (UTC)", "to", "recipient", "what", "alerts", "outcome"):
        table.add_column(title, overflow="fold")
    for message in messages:
        table.add_row(
            f"{message.claimed_at:%Y-%m-%d %H:%M}",
            message.company or "operators",
            escape(message.recipient),
            message.kind.replace("_", " "),
            str(message.alerts),
            message.status + (f": {escape(message.error)}" if message.error else ""),
        )
    console.print(table)
    console.print(f"Waiting to be told: {len(waiting):,}")
    for slug, recipient, alert in waiting[:limit]:
        console.print(f"  {slug} · {escape(recipient)}: {escape(alert.sentence)}")


def _show(lines: list[Sent]) -> None:
    """Every message that is on its way; raises NotDelivered with those that are not."""
    from pipeline.integrations.notifications.errors import NotDelivered

    if not lines:
        console.print("Nothing to tell.")
    lost = [line for line in lines if line.outcome in {"failed", "doubtful", "not sent"}]
    for line in lines:
        if line not in lost:
            console.print(escape(str(line)))
    if lost:
        raise NotDelivered("\n".join(["Not everybody could be told.", *map(str, lost)]))
