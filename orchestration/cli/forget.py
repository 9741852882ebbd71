"""``churn forget``: one person out of the warehouse, for good."""

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer
from croniter import croniter

from orchestration.cli.terminal import CommandFailed, console, open_warehouse
from pipeline.prediction.tasks import CUSTOMER_TASKS
from warehouse.clock import Clock
from warehouse.companies import registry
from warehouse.privacy import erasure


def forget(
    company: Annotated[str, typer.Option("--company", help="Slug of the company whose customer it is.")],
    customer: Annotated[str, typer.Option("--customer", help="The customer's id in the company's CRM.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase a customer from every table, tell the feed's followers, and keep the person out of later syncs.

    The receipt in ops.erasures holds no personal data.
    """
    with open_warehouse() as (settings, warehouse):
        with warehouse.connect() as conn:
            owner = registry.get_company(conn, company)
            rows = erasure.rows_of_customer(conn, owner.company_id, customer)
        for relation, count in rows.items():
            console.print(f"  {relation:40} {count:>8,}")
        if rows and not yes and not typer.confirm(f"Erase these rows of one customer of {company}, for good?"):
            raise CommandFailed("Nothing was erased.")
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
        f"Erased {sum(receipt.rows.values()):,} rows of {len(receipt.rows)} tables; receipt {receipt.erasure_id} in "
        "ops.erasures. Followers of the feed were sent a delete; figures by month are made again by the next run."
    )
    for seen in receipt.models:
        console.print(
            f"  {seen.model} v{seen.version} learned from this customer; trained again {seen.retrained_at:%F %R %Z}"
        )


def next_training(now: datetime) -> datetime:
    """When the schedule next trains every company again."""
    from orchestration.automation import train_weekly

    found: datetime = croniter(str(train_weekly.cron_schedule), now).get_next(datetime)
    return found
