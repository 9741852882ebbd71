"""What `churn company check` found, in words and tables for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from foundation.counting import counted
from pipeline.loading.check import CompanyCheck, EntityCheck
from pipeline.prediction.tasks import churn_settings_of

MONTHS_LISTED = 12
LINES_UNDERSTOOD = 9


def print_check(check: CompanyCheck, console: Console) -> None:
    """Reachable, what is there, what passes, who churned, which rung, and what would help."""
    company = check.company
    reached = any(entity.error is None for entity in check.entities)
    console.print(f"[bold]{escape(company.name)}[/bold] ({company.slug}) by {company.connector.replace('_', ' ')}")
    console.print(_reach(check, reached))
    if reached:
        console.print(_entities(check))
    if check.is_sample and reached:
        console.print(
            "[yellow]A sample:[/yellow] figures are of the records that were read, the oldest changes first, and not "
            "of all; `--records` reads more."
        )
    _print_understood(check, console)
    for entity in check.entities:
        for reason, count in entity.reasons:
            console.print(f"  {entity.entity} rejected, {count:,}: {escape(reason)}")
    _print_churn(check, console)
    if check.snapshot:
        console.print(f"[yellow]{escape(check.snapshot)}[/yellow]")
    if check.advice:
        console.print("[bold]What would help[/bold]")
        for advice in check.advice:
            console.print(f"  · {escape(advice)}")


def _reach(check: CompanyCheck, reached: bool) -> str:
    if reached:
        return "[green]reachable[/green]"
    if any(entity.is_reached for entity in check.entities):
        return "[red]reachable, but it does not read as declared[/red]"
    return "[red]not reachable[/red]"


def _print_understood(check: CompanyCheck, console: Console) -> None:
    """How the source was read, in under ten lines."""
    for line in check.understood[:LINES_UNDERSTOOD]:
        console.print(f"  {escape(line)}")
    further = len(check.understood) - LINES_UNDERSTOOD
    if further > 0:
        console.print(f"  [yellow]and {further} more: name fewer entities to see them[/yellow]")


def _entities(check: CompanyCheck) -> Table:
    table = Table(header_style="dim", box=None, pad_edge=False)
    table.add_column("found")
    for title in ("read", "source has", "pass", "find their customer"):
        table.add_column(title, justify="right")
    for title in ("from", "to"):
        table.add_column(title)
    for entity in check.entities:
        table.add_row(*_row(entity))
    return table


def _row(entity: EntityCheck) -> tuple[str, ...]:
    if entity.error is not None:
        return (entity.entity, "–", "–", "–", "–", "[red]cannot be read[/red]", "")
    share = entity.accepted_share
    return (
        entity.entity,
        f"{entity.received:,}" + _of_sample(not entity.is_complete),
        "all of it" if entity.total is None and entity.is_complete else _count(entity.total),
        "–" if share is None else f"{share:.1%}",
        "–" if entity.linked_share is None else f"{entity.linked_share:.1%}" + _of_sample(entity.is_linked_to_sample),
        f"{entity.first_at:%Y-%m-%d}" if entity.first_at else "–",
        f"{entity.last_at:%Y-%m-%d}" if entity.last_at else "–",
    )


def _of_sample(is_sample: bool) -> str:
    return " (sample)" if is_sample else ""


def _count(number: int | None) -> str:
    return "not told" if number is None else f"{number:,}"


def _print_churn(check: CompanyCheck, console: Console) -> None:
    if check.churn is None or check.grounds is None:
        return
    churn = churn_settings_of(check.company)
    if churn is None:
        return
    meaning = {
        "cancellation": "cancellation",
        "inactivity": f"{counted(churn.inactivity_days or 0, 'day')} of silence after a payment was due, or "
        "cancellation",
        "downgrade": f"losing {churn.downgrade_share or 0:.0%} of the monthly price",
    }[churn.kind]
    months = check.churn.by_month
    listed = ", ".join(f"{month} {count:,}" for month, count in months[-MONTHS_LISTED:]) or "none"
    earlier = f" (and {counted(len(months) - MONTHS_LISTED, 'month')} before)" if len(months) > MONTHS_LISTED else ""
    console.print(f"Churners per month, by {meaning}: {listed}{earlier}")
    about = "about " if check.churn.scale != 1 else ""
    outcomes = check.churn.outcomes
    console.print(
        f"Evidence: {about}{counted(outcomes.outcomes, 'customer')} who left within "
        f"{counted(churn.horizon_days, 'day')} of the first of "
        f"a month, {outcomes.survivors:,} who did not" + (", estimated from the sample" if about else "")
    )
    console.print(f"Its scores would rest on: [bold]{escape(check.grounds.text)}[/bold]")
    if check.grounds.step != "rule":
        console.print("Only the training shows whether a model is told from chance; if none is, the rule publishes.")
