"""``churn decide``: what is best done for a company's customers, within the budgets of its actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from foundation.counting import counted
from orchestration.cli.options import CompanySlug
from orchestration.cli.terminal import console, open_company

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.companies.definition import Company

_STATUS = {"runs": "runs", "nothing_earns": "earns nothing here yet", "stopped": "has stopped, since it surely lost"}

decide_app = typer.Typer(no_args_is_help=True, help="What is best done for customers, within a budget.")

Customer = Annotated[str | None, typer.Option("--customer", help="One customer's decision, with its reasons.")]


@decide_app.command("plan")
def decide_plan(company: CompanySlug) -> None:
    """Show what would be decided today, and write nothing."""
    from pipeline.decisions.deciding import NO_SCORES, plan_company, why_not

    with open_company(company) as (_, warehouse, declared):
        refusal = why_not(declared)
        plan = None if refusal else plan_company(warehouse, declared)
    if plan is None:
        console.print(escape(f"{company}: {refusal or NO_SCORES}."))
        return
    _print_programmes(declared, plan.programmes.to_pylist())
    _print_bound(declared, plan.programmes)
    console.print(f"[dim]Nothing was written; `churn decide publish --company {company}` publishes it.[/dim]")


@decide_app.command("publish")
def decide_publish(company: CompanySlug) -> None:
    """Decide today's and publish it: all of it, or nothing where something fails."""
    from pipeline.decisions.deciding import decide_company
    from warehouse.clock import Clock

    with open_company(company) as (settings, warehouse, declared):
        decided = decide_company(warehouse, declared, Clock.from_settings(settings).for_company(declared))
    if decided.published is None:
        console.print(escape(f"{company}: {decided.refusal}."))
        return
    published = decided.published
    console.print(
        f"{company}: decided for {counted(published.decisions, 'customer')} as of {published.as_of_date}: "
        f"{published.to_treat:,} to be treated, {counted(published.controls, 'control')} left alone; the feed got "
        f"{counted(published.upserts, 'upsert')} and {counted(published.deletes, 'delete')}."
    )


@decide_app.command("show")
def decide_show(company: CompanySlug, customer: Customer = None) -> None:
    """Show each programme as it was last decided, or one customer's decision."""
    from warehouse.decisions.programmes import decision_of, newest_plans
    from warehouse.roles import Role

    with open_company(company) as (_, warehouse, declared), warehouse.connect(Role.ml) as conn:
        if customer is not None:
            _print_decision(declared, customer, decision_of(conn, declared.company_id, customer))
            return
        plans = newest_plans(conn, declared.company_id)
    if not plans:
        console.print(f"{company}: nothing is decided yet; `churn decide publish --company {company}` decides.")
        return
    _print_programmes(declared, plans)


def _print_bound(company: Company, programmes: pa.Table) -> None:
    most = max(programmes.column("at_most_more").to_pylist(), default=0)
    console.print(f"No other choice within these limits would bring more than {most:,.2f} {company.currency} more.")


def _print_decision(company: Company, customer: str, decision: Mapping[str, Any] | None) -> None:
    if decision is None:
        console.print(escape(f"{company.slug}: nothing is published of {customer}."))
        return
    action = decision["action"] or "nothing"
    if decision["is_control"]:
        action = f"nothing ({action}'s control)"
    console.print(escape(f"{customer}, as of {decision['as_of_date']}: {action}"))
    for reason in decision["reasons"]:
        console.print(escape(f"  {reason}"))


def _print_programmes(company: Company, programmes: list[dict[str, Any]]) -> None:
    """Each programme: its period so far, with today, and what today's new decisions bring."""
    for plan in programmes:
        console.print(
            escape(
                f"{plan['action']} {_STATUS[plan['status']]}: since {plan['period_start']} {plan['spent']:,.2f} of "
                f"{plan['budget']:,.2f} {company.currency} spent on {counted(plan['treated'], 'customer')}, "
                f"{counted(plan['controls'], 'control')} left alone; it is meant for {plan['eligible']:,}."
            )
        )
        console.print(
            f"  New on {plan['decided_on']}: {plan['net_value']:,.2f} net value ({plan['net_value_low']:,.2f} to "
            f"{plan['net_value_high']:,.2f}); with a tenth more budget "
            f"{plan['net_value_with_tenth_more']:,.2f}, with a weaker effect {plan['net_value_at_weaker_effect']:,.2f}."
        )
