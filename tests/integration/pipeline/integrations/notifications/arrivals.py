"""Mail and HTTP that arrive at real servers, and companies with something to be told."""

from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from email.message import EmailMessage
from typing import Any

from pipeline.companies import parse_definition
from pipeline.integrations.notifications.sending import Sent
from warehouse.companies.definition import Company
from warehouse.companies.registry import add_company as register
from warehouse.connection import Warehouse
from warehouse.settings import Settings

MONDAY = datetime(2026, 10, 5, 9, 0, tzinfo=UTC)
NAME = "<script>alert('x')</script> & \"Söhne\""


@dataclass
class Post:
    """Mail and HTTP that arrived, and how the two servers answer."""

    mail_port: int = 0
    http_port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[list[str]] = field(default_factory=list)
    hooks: list[dict[str, Any]] = field(default_factory=list)
    mail_answer: str = "250 OK"
    http_status: int = 200

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:
        if self.mail_answer.startswith("250"):
            self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))  # type: ignore[arg-type]
            self.envelopes.append(envelope.rcpt_tos)
        return self.mail_answer

    def clear(self) -> None:
        self.mails.clear()
        self.envelopes.clear()
        self.hooks.clear()
        self.mail_answer, self.http_status = "250 OK", 200


def company(warehouse: Warehouse, slug: str, **fields: Any) -> Company:
    definition = {
        "slug": slug,
        "name": "Acme & Sons" if slug == "acme" else slug.title(),
        "connector": "files",
        "entities": ["customers"],
        "churn_kind": "cancellation",
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "notifications": {
            "owner": "Dana Roe",
            "tell": ["high_risk", "held_publication", "shrinking_source", "failed_run", "model"],
            "customer_link": "https://crm.example/c?id={customer_id}&tab=1",
        },
    }
    with warehouse.connect() as conn:
        return register(conn, parse_definition(definition | fields), "tests")


def publish(warehouse: Warehouse, of: Company, day: date, high: dict[str, float]) -> None:
    """One publication whose customers at high risk are these, with what is at stake; the marts show it."""
    with warehouse.connect() as conn:
        conn.execute(
            "insert into predictions.churn_publications_v1 (company_id, as_of_date, model_version, evidence_level,"
            " scores, published_at) values (%s, %s, 'm v1', 'own_model', 20, %s)",
            (of.company_id, day, MONDAY),
        )
        conn.execute("delete from analytics.customer_overview where company_id = %s", (of.company_id,))
        for number in range(20):
            customer = f"c {number}/ü"
            level = "high" if customer in high else "low"
            conn.execute(
                "insert into predictions.churn_scores_v1 (company_id, customer_id, as_of_date, churn_probability,"
                " risk_level, percentile, baseline_log_odds, reasons, model_version, evidence_level, row_hash,"
                " scored_at) values (%s, %s, %s, %s, %s, 50, 0, '[]', 'm v1', 'own_model', 'h', %s)",
                (of.company_id, customer, day, 0.7 if level == "high" else 0.1, level, MONDAY),
            )
            conn.execute(
                "insert into analytics.customer_overview values (%s, %s, %s, %s, 'Pro', 'EUR', %s, %s, 'Second', null,"
                " %s, %s, 100, 10, %s)",
                (
                    of.company_id,
                    customer,
                    of.name,
                    f"{NAME} {number}",
                    level,
                    "Payments failed: 3 < 5 & rising",
                    0.7 if level == "high" else 0.1,
                    high.get(customer, 1),
                    day,
                ),
            )


def at(settings: Settings, moment: datetime) -> Settings:
    return settings.model_copy(update={"now": moment})


def parts(mail: EmailMessage) -> tuple[str, str]:
    html, text = mail.get_body(["html"]), mail.get_body(["plain"])
    assert html is not None
    assert text is not None
    return str(html.get_content()), str(text.get_content())


def outcomes(lines: list[Sent]) -> list[tuple[str, str]]:
    return [(line.to, line.outcome) for line in lines]


def log(warehouse: Warehouse, query: str = "select status from ops.notifications order by 1") -> list[tuple[Any, ...]]:
    with warehouse.connect() as conn:
        return conn.execute(query).fetchall()  # type: ignore[call-overload]
