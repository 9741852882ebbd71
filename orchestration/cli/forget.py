"""``churn forget``: one person out of the warehouse, for good."""

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape

from foundation.counting import counted
from orchestration.cli.options import Yes
from orchestration.cli.terminal import CommandFailed, console, open_company


def forget(
    company: Annotated[str, typer.Option("--company", help="Slug of the company whose customer it is.")],
    customer: Annotated[str, typer.Option("--customer", help="The customer's id in the company's CRM.")],
    yes: Yes = False,
) -> None:
    """Erase a customer from every table, tell the feed's followers, and keep them out of later syncs.

    The receipt in ops.erasures holds no personal data.
    """
    from pipeline.prediction.tasks import CUSTOMER_TASKS
    from warehouse.clock import Clock
    from warehouse.developers import dropped_text
    from warehouse.one_writer import one_writer
    from warehouse.privacy import erasure

    with open_company(company) as (settings, warehouse, owner):
        with warehouse.connect() as conn:
            rows = erasure.rows_of_customer(conn, owner.company_id, customer)
        for relation, count in rows.items():
            console.print(f"  {relation:40} {count:>8,}")
        if rows and not yes and not typer.confirm(f"Erase these rows of one customer of {company}, for good?"):
            raise CommandFailed("Nothing was erased.")
        # A run under way would write again what it has read already.
        with one_writer(warehouse, f"churn forget --company {company}", say=console.print):
            receipt = erasure.forget_customer(
                warehouse,
                CUSTOMER_TASKS,
                owner,
                customer,
                actor=getpass.getuser(),
                now=Clock.from_settings(settings).for_company(owner),
                next_training=next_training(datetime.now(UTC)),
            )
    console.print(
        f"Erased {counted(sum(receipt.rows.values()), 'row')} of {counted(len(receipt.rows), 'table')}; receipt "
        f"{receipt.erasure_id} in "
        "ops.erasures. Followers of the feed were sent a delete; the next run makes the figures by month again."
    )
    if receipt.dropped:
        console.print(escape(dropped_text(receipt.dropped)))
    for seen in receipt.models:
        console.print(
            f"  {seen.model} v{seen.version} learned from this customer; trained again {seen.retrained_at:%F %R %Z}"
        )


def next_training(now: datetime) -> datetime:
    """When the schedule next trains every company again."""
    from croniter import croniter

    from orchestration.automation import train_weekly

    due_at: datetime = croniter(str(train_weekly.cron_schedule), now).get_next(datetime)
    return due_at
