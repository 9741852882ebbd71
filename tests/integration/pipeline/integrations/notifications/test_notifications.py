"""Alerts as they arrive: real mail at a real SMTP server, real HTTP at a webhook."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from pipeline.companies import parse_definition
from pipeline.integrations.notifications.facts import alerts_of
from pipeline.integrations.notifications.sending import pending, send_digests
from pipeline.prediction.tasks import task_named
from pipeline.telling.notifying import tell_of_silence
from tests.integration.pipeline.integrations.notifications.arrivals import (
    MONDAY,
    NAME,
    Post,
    at,
    company,
    outcomes,
    parts,
    publish,
)
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.registry import change_company
from warehouse.connection import Warehouse
from warehouse.publication.holds import hold
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("notifications")


def test_customers_newly_at_high_risk_come_in_one_message_dearest_first_and_escaped(
    told: Warehouse, acme: Company, settings: Settings, post: Post
) -> None:
    publish(told, acme, date(2026, 10, 5), {"c 3/ü": 10, "c 4/ü": 9000, "c 5/ü": 500})

    assert outcomes(send_digests(told, settings)) == [("acme", "sent"), ("acme", "sent")]

    (mail,) = post.mails
    assert post.envelopes == [["dana@acme.example"]]
    assert mail["Subject"] == "Acme & Sons: 3 customers newly at high risk"
    assert mail["From"] == "churn@example.com"
    html, text = parts(mail)
    assert "<script>" not in html
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &#34;Söhne&#34; 4" in html
    assert 'href="https://crm.example/c?id=c%204%2F%C3%BC&amp;tab=1"' in html
    assert "Payments failed: 3 &lt; 5 &amp; rising" in html
    assert [html.index(f"Söhne&#34; {number}") for number in (4, 5, 3)] == sorted(
        html.index(f"Söhne&#34; {number}") for number in (4, 5, 3)
    )
    assert "Dana Roe" in html
    assert "Payments failed: 3 < 5 & rising" in text
    assert "https://crm.example/c?id=c%204%2F%C3%BC&tab=1" in text
    (hook,) = post.hooks
    assert hook["path"] == "/hooks/T0KEN-of-acme"
    assert f"1. {NAME} 4 (Pro): 70 % likely to leave, 9,000 EUR at stake" in hook["message"]
    assert "https://crm.example/c?id=c%204%2F%C3%BC&tab=1" in hook["message"]


def test_nothing_is_told_twice_and_a_customer_rests_for_the_cool_down(
    told: Warehouse, acme: Company, settings: Settings, post: Post
) -> None:
    publish(told, acme, date(2026, 10, 5), {"c 3/ü": 10})
    send_digests(told, settings)
    assert send_digests(told, settings) == []
    publish(told, acme, date(2026, 10, 6), {"c 3/ü": 10, "c 9/ü": 10})
    send_digests(told, at(settings, MONDAY + timedelta(days=1)))
    assert "Söhne&#34; 9" in parts(post.mails[-1])[0]
    assert "Söhne&#34; 3" not in parts(post.mails[-1])[0]
    publish(told, acme, date(2026, 10, 7), {})
    publish(told, acme, date(2026, 10, 8), {"c 3/ü": 10})
    assert send_digests(told, at(settings, MONDAY + timedelta(days=3))) == []
    again = send_digests(told, at(settings, MONDAY + timedelta(days=15)))
    assert outcomes(again) == [("acme", "sent"), ("acme", "sent")]
    assert "Söhne&#34; 3" in parts(post.mails[-1])[0]


def test_a_customer_of_small_value_is_left_out_and_the_rest_is_counted(
    told: Warehouse, acme: Company, settings: Settings, post: Post
) -> None:
    with told.connect() as conn:
        change_company(
            conn,
            "acme",
            {"notifications.smallest_value": 100, "notifications.customers_shown": 2},
            "tests",
            parse_definition,
        )
    publish(told, acme, date(2026, 10, 5), {f"c {number}/ü": number * 100 for number in range(6)})
    send_digests(told, settings)
    (mail,) = post.mails
    assert mail["Subject"] == "Acme & Sons: 5 customers newly at high risk"
    html, _ = parts(mail)
    assert html.count("Payments failed") == 2
    assert "and 3 more" in html


def test_quiet_hours_are_the_companys_own_and_what_waited_is_told_when_they_end(
    told: Warehouse, acme: Company, settings: Settings, post: Post
) -> None:
    with told.connect() as conn:
        change_company(conn, "acme", {"notifications.quiet_hours": ["20:00", "07:00"]}, "tests", parse_definition)
    publish(told, acme, date(2026, 10, 5), {"c 3/ü": 10})
    # 20:30 in Berlin is 18:30 UTC in October.
    for quiet in (datetime(2026, 10, 5, 18, 30, tzinfo=UTC), datetime(2026, 10, 6, 4, 59, tzinfo=UTC)):
        (line,) = send_digests(told, at(settings, quiet))
        assert "07:00" in line.outcome
    assert post.mails == []
    send_digests(told, at(settings, datetime(2026, 10, 6, 5, 0, tzinfo=UTC)))
    assert len(post.mails) == 1


def test_operators_get_one_digest_over_all_companies(told: Warehouse, settings: Settings, post: Post) -> None:
    for number in range(12):
        firm = company(told, f"firm_{number}")
        with told.connect() as conn:
            _run(conn, firm.company_id, "sync", "failed", "API key refused <b>")
    with told.connect() as conn:
        _run(conn, None, "sync_and_score", "failed", "Postgres went away")
    settings = settings.model_copy(update={"operator_addresses": "ops@example.com, file:no-such-file"})
    wrong, *first = send_digests(told, settings)
    assert "no-such-file" in str(wrong)
    assert outcomes(first) == [("operators", "sent")]
    (mail,) = post.mails
    assert mail["To"] == "ops@example.com"
    assert "runs failed" in mail["Subject"]
    html, _ = parts(mail)
    assert html.count("API key refused &lt;b&gt;") == 12
    assert "All companies" in html
    assert len(send_digests(told, settings)) == 1
    assert len(post.mails) == 1


def _run(conn: psycopg.Connection[Any], company_id: int | None, stage: str, status: str, error: str | None) -> None:
    conn.execute(
        "insert into ops.run_log (company_id, stage, started_at, status, error) values (%s, %s, %s, %s, %s)",
        (company_id, stage, MONDAY, status, error),
    )


def test_a_failure_that_lasts_is_told_once_and_one_after_a_success_anew(
    told: Warehouse, acme: Company, settings: Settings, post: Post
) -> None:
    for status, mails in (("failed", 1), ("failed", 1), ("succeeded", 1), ("failed", 2)):
        with told.connect() as conn:
            _run(conn, acme.company_id, "sync", status, "no answer" if status == "failed" else None)
        send_digests(told, settings)
        assert len([mail for mail in post.mails if mail["To"] == "dana@acme.example"]) == mails


def test_held_scores_a_shrinking_source_and_a_changed_model_are_told(
    told: Warehouse, acme: Company, settings: Settings, post: Post
) -> None:
    with told.connect() as conn:
        contract = task_named("churn").relations.contract
        hold(conn, contract, acme.company_id, date(2026, 10, 5), MONDAY, {"no sudden loss": "4 after 20"})
        for days, live in ((2, 1000), (1, 990), (0, 300)):
            conn.execute(
                "insert into ops.load_log (company_id, entity, is_backfill, known_at, status, source_live)"
                " values (%s, 'customers', false, %s, 'succeeded', %s)",
                (acme.company_id, MONDAY - timedelta(days=days), live),
            )
        for rung, cause in (("pooled_model", "first"), ("own_model", "schedule"), ("rule", "asked")):
            conn.execute(
                "insert into ml.training_runs (task, company_id, rung, status, model_name, model_version, cause)"
                " values ('churn', %s, %s, 'promoted', 'churn_acme', '2', %s)",
                (acme.company_id, rung, cause),
            )
        conn.execute(
            "insert into ml.promotions (company_id, task, event, model_name, from_version, to_version, why, figures,"
            " actor) values (%s, 'churn', 'promoted', 'churn_acme', '1', '2', 'Better by 0.03.', '{}', 'tests')",
            (acme.company_id,),
        )
    waiting = pending(told, settings)
    send_digests(told, settings)
    mail = next(mail for mail in post.mails if mail["To"] == "dana@acme.example")
    html, _ = parts(mail)
    assert len(waiting) == 8
    assert mail["Subject"] == "Acme & Sons: 1 publication held, 1 source shrinking, 2 models changed"
    assert "The scores for 2026-10-05 are held back, none were published before" in html
    assert "4 after 20" in html
    assert "no sudden loss" not in html
    assert "churn holds accept --company acme --task churn --date 2026-10-05" in html
    assert "Promoted: churn_acme v2 scores instead of v1. Better by 0.03." in html
    assert "The source has 300 customers, and had 1,000 in the week before." in html
    assert "Degraded: scores now rest on a rule, and rested on a model of its own." in html
    assert pending(told, settings) == []


def test_a_held_date_of_any_task_is_told_of(told: Warehouse, settings: Settings) -> None:
    """Only those of churn were, so that a company with support alone never heard of its own."""
    desk = company(told, "desk", churn_kind=None, entities=["customers", "tickets"], tasks={"support": {}})
    with told.connect() as conn:
        contract = task_named("support").relations.contract
        hold(conn, contract, desk.company_id, date(2026, 10, 5), MONDAY, {"no sudden loss": "4 after 20"})
        alerts = list(alerts_of(conn, desk, Clock.from_settings(settings)))
    assert [alert.kind for alert in alerts] == ["held_publication"]
    assert "churn holds accept --company desk --task support --date 2026-10-05" in alerts[0].sentence
    assert "The risk level of 0 customers would change." in alerts[0].sentence


def test_silence_is_told_once_by_the_companys_clock_and_without_a_run(
    told: Warehouse, acme: Company, settings: Settings, post: Post
) -> None:
    still = company(told, "still", clock_at=MONDAY.isoformat())
    with told.connect() as conn:
        change_company(conn, "acme", {"notifications.tell": ["late_publication"]}, "tests", parse_definition)
    for of in (acme, still):
        publish(told, of, MONDAY.date(), {})
    assert tell_of_silence(at(settings, MONDAY + timedelta(hours=49)), told) == []
    for hours in (51, 52, 90):
        first, *_ = tell_of_silence(at(settings, MONDAY + timedelta(hours=hours)), told)
        assert first == "acme: no scores of churn since 2026-10-05 09:00 UTC"
    assert [mail["Subject"] for mail in post.mails if mail["To"] == "dana@acme.example"] == [
        "Acme & Sons: 1 publication late"
    ]
    publish(told, acme, MONDAY.date() + timedelta(days=3), {})
    with told.connect() as conn:
        conn.execute("update predictions.churn_publications_v1 set published_at = %s", [MONDAY + timedelta(days=3)])
    assert tell_of_silence(at(settings, MONDAY + timedelta(days=4)), told) == []


def test_a_late_source_is_told_once_for_the_whole_outage(
    told: Warehouse, acme: Company, settings: Settings, post: Post
) -> None:
    with told.connect() as conn:
        change_company(conn, "acme", {"notifications.tell": ["late_source"]}, "tests", parse_definition)
        conn.execute(
            "insert into ops.load_log (company_id, entity, is_backfill, known_at, status)"
            " values (%s, 'customers', true, %s, 'succeeded')",
            (acme.company_id, MONDAY),
        )
    assert send_digests(told, at(settings, MONDAY + timedelta(hours=20))) == []
    for hours in (27, 28, 60):
        send_digests(told, at(settings, MONDAY + timedelta(hours=hours)))
    assert [mail["Subject"] for mail in post.mails if mail["To"] == "dana@acme.example"] == [
        "Acme & Sons: 1 source late"
    ]
