"""Alerts and figures as messages: HTML and text from the templates beside this file. HTML is escaped by jinja2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.integrations.notifications.alerts import KINDS, Alert, AlertKind, CustomerAtRisk
from pipeline.integrations.notifications.channels import Content
from pipeline.integrations.notifications.weekly import WeeklyFigures
from pipeline.integrations.plain_text import plain
from warehouse.companies.definition import Company


@dataclass(frozen=True)
class Section:
    """The alerts of one kind: customers as a list to call, the others as sentences."""

    kind: AlertKind
    alerts: Sequence[Alert]
    customers: Sequence[CustomerAtRisk]
    left_out: int


def digest(alerts: Sequence[Alert], company: Company | None) -> Content:
    """One message about all of these alerts; `company` is None for the operators, to whom each line names its own."""
    customer_limit = company.notifications.customers_shown if company else 0
    sections = [_section(kind, alerts, customer_limit) for kind in KINDS.values()]
    sections = [section for section in sections if section.alerts]
    counts = ", ".join(_counted(section) for section in sections)
    who = plain(company.name) if company else "Churn Warehouse"
    context = {"company": company, "sections": sections, "who": who, "title": f"{who}: {counts}"}
    return _content(f"{who}: {counts}", "digest", context, summary=_summary(who, sections))


def weekly_report(figures: WeeklyFigures, company: Company, page: Path | None) -> Content:
    """The week in figures, and the customers to call."""
    subject = f"{plain(company.name)}: churn in the week to {figures.score_date:%-d %B %Y}"
    context = {"company": company, "figures": figures, "title": subject, "has_page": page is not None}
    summary = (
        f"{subject}: {figures.high:,} of {figures.customers:,} at high risk, "
        f"{money(figures.monthly_revenue_at_risk, figures.currency)} a month at risk."
    )
    return _content(subject, "weekly_report", context, summary=summary, attachment=page)


def test_message(company: Company) -> Content:
    """What `churn notify test` sends: that it arrives is all it says."""
    subject = f"{plain(company.name)}: a test of Churn Warehouse's messages"
    context = {"company": company, "title": subject}
    return _content(subject, "test", context, summary=subject)


def money(amount: Decimal | None, currency: str) -> str:
    """1,234 EUR, without hundredths."""
    return "–" if amount is None else f"{amount:,.0f} {currency}"


def _section(kind: AlertKind, alerts: Sequence[Alert], customer_limit: int) -> Section:
    of_kind = [alert for alert in alerts if alert.kind == kind.name]
    customers = [alert.customer for alert in of_kind if alert.customer]
    return Section(kind, of_kind, customers[:customer_limit], len(customers) - len(customers[:customer_limit]))


def _counted(section: Section) -> str:
    nouns = {
        "high_risk": ("customer newly at high risk", "customers newly at high risk"),
        "late_publication": ("publication late", "publications late"),
        "held_publication": ("publication held", "publications held"),
        "late_source": ("source late", "sources late"),
        "shrinking_source": ("source shrinking", "sources shrinking"),
        "failed_run": ("run failed", "runs failed"),
        "model": ("model changed", "models changed"),
    }[section.kind.name]
    return f"{len(section.alerts):,} {nouns[len(section.alerts) != 1]}"


def _summary(who: str, sections: Sequence[Section]) -> str:
    first = sections[0]
    example = first.customers[0].name if first.customers else first.alerts[0].sentence
    return f"{who}: {', '.join(map(_counted, sections))}. First: {example}"[:300]


def _content(
    subject: str, template: str, context: dict[str, Any], *, summary: str, attachment: Path | None = None
) -> Content:
    environment = _environment()
    html = environment.get_template(f"{template}.html.j2").render(context)
    text = environment.get_template(f"{template}.txt.j2").render(context)
    return Content(subject, html, text, summary, attachment)


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("pipeline.integrations.notifications"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["money"] = money
    environment.filters["plain"] = plain
    return environment
