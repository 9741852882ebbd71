"""The weekly report as it arrives: real mail at a real SMTP server."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from pipeline.companies import parse_definition
from pipeline.integrations.notifications.sending import send_weekly_reports
from pipeline.telling.dashboards import company_facts
from tests.integration.pipeline.integrations.notifications.arrivals import MONDAY, Post, at, outcomes, parts, publish
from warehouse.companies.definition import Company
from warehouse.companies.registry import change_company
from warehouse.connection import Warehouse
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("notifications")


def test_the_weekly_report_has_the_figures_and_ten_customers_to_call(
    told: Warehouse, acme: Company, settings: Settings, post: Post
) -> None:
    publish(told, acme, date(2026, 9, 27), {"c 1/ü": 5, "c 2/ü": 5})
    publish(told, acme, date(2026, 10, 5), {f"c {number}/ü": number * 1000 for number in range(12)})
    with told.connect() as conn:
        for days, level in ((1, "high"), (3, "low"), (9, "high")):
            conn.execute(
                "insert into analytics.churned_customers values (%s, 'gone', %s, %s)",
                (acme.company_id, MONDAY - timedelta(days=days), level),
            )

    def nothing(_: Company) -> None:
        return None

    assert send_weekly_reports(told, at(settings, MONDAY - timedelta(days=1)), nothing) == []
    assert outcomes(send_weekly_reports(told, settings, nothing)) == [("acme", "sent"), ("acme", "sent")]
    assert send_weekly_reports(told, at(settings, MONDAY + timedelta(days=1)), nothing) == []
    (mail,) = post.mails
    assert mail["Subject"] == "Acme & Sons: churn in the week to 5 October 2026"
    html, text = parts(mail)
    assert "10 customers to call" in html
    assert html.count("Payments failed") == 10
    assert "at high risk, 2 a week before, of 20 customers" in html
    assert "200 EUR" in html
    assert "left in seven days; 1 of them were at high risk before" in html
    assert "<script>" not in html
    assert "Payments failed" in text
    assert "At high risk: 12 of 20 customers (2 a week before)" in post.hooks[0]["message"]
    assert outcomes(send_weekly_reports(told, at(settings, MONDAY + timedelta(days=7)), nothing)) == [
        ("acme", "sent"),
        ("acme", "sent"),
    ]


def test_who_is_at_high_risk_is_called_before_who_has_more_at_stake_for_the_reasons_of_the_overview(
    told: Warehouse, acme: Company, settings: Settings, post: Post
) -> None:
    publish(told, acme, date(2026, 10, 5), {"c 1/ü": 5, "c 2/ü": 4})
    with told.connect() as conn:
        conn.execute(
            "update analytics.customer_overview set risk_level = 'medium', value_at_stake = 900,"
            " first_reason = '1 ticket open now, usually 0', second_reason = null where customer_id = 'c 2/ü'"
        )
    send_weekly_reports(told, settings, lambda _: None)
    html, text = parts(post.mails[0])
    assert html.index(">5 EUR<") < html.index(">900 EUR<")
    assert ">1 ticket open now, usually 0<" in html
    assert "1 ticket open now, usually 0\r\n" in text


def test_the_whole_report_is_attached_to_mail_where_there_is_one(
    told: Warehouse, acme: Company, settings: Settings, post: Post, tmp_path: Any
) -> None:
    publish(told, acme, date(2026, 10, 5), {"c 1/ü": 5})
    page = tmp_path / "churn-report.html"
    page.write_text("<html>whole</html>")
    send_weekly_reports(told, settings, lambda _: page)
    (attached,) = list(post.mails[0].iter_attachments())
    assert attached.get_filename() == "churn-report.html"
    assert "is attached" in parts(post.mails[0])[0]


def test_metabase_is_told_which_companies_get_a_weekly_report_of_ours(
    told: Warehouse, acme: Company, settings: Settings
) -> None:
    def reported(settings: Settings) -> bool:
        (facts,) = [facts for facts in company_facts(told, settings) if facts.slug == acme.slug]
        return facts.has_weekly_report

    assert reported(settings)
    assert not reported(settings.model_copy(update={"mail_url": None}))
    with told.connect() as conn:
        change_company(conn, acme.slug, {"notifications.weekly_report_on": None}, "tests", parse_definition)
    assert not reported(settings)
