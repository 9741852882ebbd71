"""Who is told what now. Claims before it sends, and records how it went, so that nothing is told twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from pipeline.integrations.notifications import messages
from pipeline.integrations.notifications.alerts import KINDS, Alert
from pipeline.integrations.notifications.channels import Content, Recipient, recipients
from pipeline.integrations.notifications.facts import alerts_of, alerts_of_the_warehouse, quiet_until
from pipeline.integrations.notifications.weekly import weekly_figures
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.logs import notifications as notification_log
from warehouse.logs.notifications import Claim, MessageKind
from warehouse.settings import Settings

Connection = psycopg.Connection[Any]
ReportPage = Callable[[Company], Path | None]

OPERATORS = "operators"
REPORT_HOUR = 6
"""Weekly reports leave from this hour on, in the company's time zone: after the night's scores, before work."""


@dataclass(frozen=True)
class Sent:
    """One line of what happened: to whom (a company's slug or `operators`), which message, how it went."""

    to: str
    recipient: str
    what: str
    outcome: str
    error: str | None = None

    def __str__(self) -> str:
        return f"{self.to} · {self.recipient}: {self.what}: {self.outcome}" + (f" ({self.error})" if self.error else "")


def send_digests(warehouse: Warehouse, settings: Settings) -> list[Sent]:
    """Tell every company's people, and the operators, what they have not been told. An error stops no other message."""
    clock = Clock.from_settings(settings)

    def work(conn: Connection) -> Iterator[Sent]:
        companies = list_companies(conn)
        alerts_by_slug = {company.slug: alerts_of(conn, company, clock) for company in companies}
        for company in companies:
            yield from _company_digest(conn, settings, company, alerts_by_slug[company.slug], clock.now())
        everything = [
            alert for alerts in alerts_by_slug.values() for alert in alerts if KINDS[alert.kind].for_operators
        ]
        everything += alerts_of_the_warehouse(conn, clock)
        yield from _operators_digest(conn, settings, everything, clock.now())

    return _as_only_sender(warehouse, work)


def send_weekly_reports(warehouse: Warehouse, settings: Settings, page: ReportPage) -> list[Sent]:
    """Send each company its weekly report on its day, once a week; `page` gives the whole report as a file, or None."""
    now = Clock.from_settings(settings).now()

    def work(conn: Connection) -> Iterator[Sent]:
        for company in list_companies(conn):
            if is_report_day(company, now) and not quiet_until(company, now):
                yield from _weekly_report(conn, settings, company, now, page)

    return _as_only_sender(warehouse, work)


def send_test(settings: Settings, company: Company) -> list[Sent]:
    """Send a test message to each of a company's addresses, quiet hours or not; nothing of it is recorded."""
    reachable, wrong = recipients(company.notification_addresses, settings, company.slug)
    content = messages.test_message(company)
    lines = [_unreachable(company.slug, problem) for problem in wrong]
    for recipient in reachable:
        delivery = recipient.send(content)
        lines.append(Sent(company.slug, recipient.name, "test", delivery.outcome, delivery.error))
    return lines


def pending(warehouse: Warehouse, settings: Settings) -> list[tuple[str, str, Alert]]:
    """What would be told now, as (company's slug, recipient, alert), quiet hours left aside. It sends nothing."""
    clock = Clock.from_settings(settings)
    waiting = []
    with warehouse.connect() as conn:
        for company in list_companies(conn):
            alerts = alerts_of(conn, company, clock)
            for recipient in recipients(company.notification_addresses, settings, company.slug)[0]:
                for alert in _untold(conn, recipient, _wanted(company, alerts), clock.now(), _cooldown(company)):
                    waiting.append((company.slug, recipient.name, alert))
    return waiting


def is_report_day(company: Company, now: datetime) -> bool:
    """Whether the company's day of the weekly report has come, or is yesterday, for one that quiet hours held up."""
    day = company.notifications.weekly_report_on
    local = now.astimezone(ZoneInfo(company.time_zone))
    is_today = day == f"{local:%A}".lower() and local.hour >= REPORT_HOUR
    return day is not None and (is_today or day == f"{local - timedelta(days=1):%A}".lower())


def _as_only_sender(warehouse: Warehouse, work: Callable[[Connection], Iterator[Sent]]) -> list[Sent]:
    with warehouse.connect(autocommit=True) as conn, notification_log.only_sender(conn) as may_send:
        if not may_send:
            return [Sent("all", "nobody", "digest", "left to another process, which is sending now")]
        return list(work(conn))


def _company_digest(
    conn: Connection, settings: Settings, company: Company, alerts: Sequence[Alert], now: datetime
) -> Iterator[Sent]:
    wanted = _wanted(company, alerts)
    if not company.notification_addresses or not wanted:
        return
    if end := quiet_until(company, now):
        yield Sent(company.slug, "all", "digest", f"waits for the end of quiet hours at {end:%H:%M}")
        return
    reachable, wrong = recipients(company.notification_addresses, settings, company.slug)
    yield from (_unreachable(company.slug, problem) for problem in wrong)
    for recipient in reachable:
        untold = _untold(conn, recipient, wanted, now, _cooldown(company))
        if untold:
            claims = [alert.claim for alert in untold]
            content = messages.digest(untold, company)
            yield _deliver(conn, recipient, content, company, "digest", claims, now)


def _operators_digest(conn: Connection, settings: Settings, alerts: Sequence[Alert], now: datetime) -> Iterator[Sent]:
    addresses = [address.strip() for address in settings.operator_addresses.split(",") if address.strip()]
    reachable, wrong = recipients(addresses, settings, None)
    yield from (_unreachable(OPERATORS, problem) for problem in wrong)
    for recipient in reachable:
        # A person may be an operator and in a company: what they heard as the one is news to the other.
        untold = _untold(conn, recipient, alerts, now, timedelta(0), prefix=f"{OPERATORS}:")
        if untold:
            claims = [Claim(alert.company_id, f"{OPERATORS}:{alert.key}") for alert in untold]
            yield _deliver(conn, recipient, messages.digest(untold, None), None, "digest", claims, now)


def _weekly_report(
    conn: Connection, settings: Settings, company: Company, now: datetime, page: ReportPage
) -> Iterator[Sent]:
    if not company.notification_addresses:
        return
    begins = _report_began(company, now)
    claim = Claim(company.company_id, f"weekly_report:{begins:%Y-%m-%d}")
    reachable, wrong = recipients(company.notification_addresses, settings, company.slug)
    yield from (_unreachable(company.slug, problem) for problem in wrong)
    due = [recipient for recipient in reachable if not notification_log.told(conn, recipient.name, [claim], now)]
    figures = weekly_figures(conn, company) if due else None
    if figures is None:
        return
    content = messages.weekly_report(figures, company, page(company))
    for recipient in due:
        yield _deliver(conn, recipient, content, company, "weekly_report", [claim], now)


def _report_began(company: Company, now: datetime) -> datetime:
    """The newest of the company's report days, so that a report that waited is not sent again the day after."""
    local = now.astimezone(ZoneInfo(company.time_zone))
    return local if f"{local:%A}".lower() == company.notifications.weekly_report_on else local - timedelta(days=1)


def _wanted(company: Company, alerts: Sequence[Alert]) -> list[Alert]:
    return [alert for alert in alerts if alert.kind in company.notifications.tell]


def _cooldown(company: Company) -> timedelta:
    return timedelta(days=company.notifications.cooldown_days)


def _untold(
    conn: Connection,
    recipient: Recipient,
    alerts: Sequence[Alert],
    now: datetime,
    cooldown: timedelta,
    prefix: str = "",
) -> list[Alert]:
    claims = {alert: Claim(alert.company_id, prefix + alert.key, alert.claim.customer_id) for alert in alerts}
    told = notification_log.told(conn, recipient.name, list(claims.values()), now - cooldown)
    return [alert for alert, claim in claims.items() if claim not in told]


def _deliver(
    conn: Connection,
    recipient: Recipient,
    content: Content,
    company: Company | None,
    kind: MessageKind,
    claims: Sequence[Claim],
    now: datetime,
) -> Sent:
    to = company.slug if company else OPERATORS
    what = f"{kind.replace('_', ' ')} of {len(claims)}" if kind == "digest" else kind.replace("_", " ")
    notification_id = notification_log.claim_message(
        conn,
        company_id=company.company_id if company else None,
        kind=kind,
        recipient=recipient.name,
        subject=content.subject,
        claims=claims,
        now=now,
    )
    if notification_id is None:
        return Sent(to, recipient.name, what, "told already by another process")
    delivery = recipient.send(content)
    notification_log.finish_message(conn, notification_id, delivery.outcome, now, delivery.error)
    return Sent(to, recipient.name, what, delivery.outcome, delivery.error)


def _unreachable(to: str, problem: str) -> Sent:
    return Sent(to, "nobody", "message", "not sent", problem)
