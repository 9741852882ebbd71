"""Alerts and reports as they arrive: real mail at a real SMTP server, real HTTP at a webhook."""

from __future__ import annotations

import email
import email.policy
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest
from aiosmtpd.controller import Controller

from pipeline.integrations.notifications.channels import Recipient
from pipeline.integrations.notifications.sending import Sent, pending, send_digests, send_test, send_weekly_reports
from pipeline.telling.dashboards import company_facts
from warehouse.companies.definition import Company, parse_definition
from warehouse.companies.registry import add_company as register
from warehouse.companies.registry import change_company
from warehouse.connection import Warehouse
from warehouse.logs import notifications as notification_log
from warehouse.privacy.company_removal import erase_rows
from warehouse.publication.holds import hold
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("notifications")

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


@pytest.fixture(scope="module")
def servers() -> Iterator[Post]:
    post = Post()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        post.mail_port = probe.getsockname()[1]
    mail = Controller(post, hostname="127.0.0.1", port=post.mail_port)
    mail.start()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if post.http_status == 200:
                post.hooks.append({"path": self.path, **json.loads(body)})
            self.send_response(post.http_status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    post.http_port = http.server_address[1]
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield post
    mail.stop()
    http.shutdown()
    http.server_close()


@pytest.fixture
def post(servers: Post) -> Post:
    servers.clear()
    return servers


@pytest.fixture
def settings(post: Post, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HOOK", f"json://127.0.0.1:{post.http_port}/hooks/T0KEN-of-acme")
    return Settings(
        now=MONDAY,
        mail_url=f"mailto://127.0.0.1:{post.mail_port}?from=churn@example.com&mode=insecure",
    )


@pytest.fixture
def told(warehouse: Warehouse) -> Warehouse:
    """A warehouse with the two marts that messages read, as plain tables."""
    with warehouse.connect() as conn:
        conn.execute(
            "create table analytics.customer_overview (company_id int, customer_id text, company_name text,"
            " customer_name text, plan_name text, currency text, risk_level text, first_reason text,"
            " second_reason text, third_reason text, churn_probability double precision, value_at_stake numeric,"
            " monthly_revenue numeric, monthly_revenue_at_risk numeric, score_date date)"
        )
        conn.execute(
            "create table analytics.churned_customers (company_id int, customer_id text, churned_at timestamptz,"
            " last_risk_level text)"
        )
    return warehouse


@pytest.fixture
def acme(told: Warehouse) -> Company:
    return company(told, "acme", notification_addresses=["dana@acme.example", "env:HOOK"])


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
        change_company(conn, "acme", {"notifications.smallest_value": 100, "notifications.customers_shown": 2}, "tests")
    publish(told, acme, date(2026, 10, 5), {f"c {number}/ü": number * 100 for number in range(6)})
    send_digests(told, settings)
    (mail,) = post.mails
    assert mail["Subject"] == "Acme & Sons: 5 customers newly at high risk"
    html, _ = parts(mail)
    assert html.count("Payments failed") == 2
    assert "and 3 more" in html


def test_a_server_that_refuses_is_tried_again_and_the_other_channel_is_not(
    told: Warehouse, acme: Company, settings: Settings, post: Post
) -> None:
    publish(told, acme, date(2026, 10, 5), {"c 3/ü": 10})
    post.http_status = 500
    refused = send_digests(told, settings)
    assert outcomes(refused) == [("acme", "sent"), ("acme", "failed")]
    assert "T0KEN" not in str(refused)
    post.http_status = 200
    assert outcomes(send_digests(told, settings)) == [("acme", "sent")]
    assert (len(post.mails), len(post.hooks)) == (1, 1)
    assert log(told) == [("failed",), ("sent",), ("sent",)]
    post.mail_answer = "550 no such mailbox"
    publish(told, acme, date(2026, 10, 6), {"c 4/ü": 10})
    said = send_digests(told, settings)
    assert outcomes(said) == [("acme", "failed"), ("acme", "sent")], said


def test_a_server_that_hangs_up_leaves_doubt_and_nothing_is_sent_again_unasked(
    told: Warehouse, acme: Company, settings: Settings, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(told, acme, date(2026, 10, 5), {"c 3/ü": 10})
    monkeypatch.setattr(post, "handle_DATA", _hang_up(post))
    assert outcomes(send_digests(told, settings)) == [("acme", "doubtful"), ("acme", "sent")]
    monkeypatch.undo()
    monkeypatch.setenv("HOOK", f"json://127.0.0.1:{post.http_port}/hooks/T0KEN-of-acme")
    assert send_digests(told, settings) == []
    with told.connect() as conn:
        assert notification_log.give_up_doubtful(conn) == 1
    assert outcomes(send_digests(told, settings)) == [("acme", "sent")]


def _hang_up(post: Post) -> Callable[..., Any]:
    async def handle(server: Any, session: Any, envelope: Any) -> str:
        server.transport.close()
        return "250 OK"

    return handle


def test_a_sender_killed_between_leaves_doubt_and_at_most_one_message(
    told: Warehouse, acme: Company, settings: Settings, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(told, acme, date(2026, 10, 5), {"c 3/ü": 10})
    for moment in ("before", "after"):
        with monkeypatch.context() as patch:
            deliver = Recipient.send

            def killed(self: Recipient, content: Any, moment: str = moment, deliver: Any = deliver) -> None:
                if moment == "after":
                    deliver(self, content)
                raise KeyboardInterrupt

            patch.setattr(Recipient, "send", killed)
            with pytest.raises(KeyboardInterrupt):
                send_digests(told, settings)
    send_digests(told, settings)
    assert len(post.mails) + len(post.hooks) == 1
    assert log(told) == [("doubtful",), ("doubtful",)]
    assert {error for (error,) in log(told, "select error from ops.notifications")} == {
        "the sender was killed while it sent"
    }


def test_only_one_process_sends_at_a_time(told: Warehouse, acme: Company, settings: Settings, post: Post) -> None:
    publish(told, acme, date(2026, 10, 5), {"c 3/ü": 10})
    with told.connect(autocommit=True) as other, notification_log.only_sender(other) as first:
        assert first
        (line,) = send_digests(told, settings)
        assert "another process" in line.outcome
    assert post.mails == []


def test_quiet_hours_are_the_companys_own_and_what_waited_is_told_when_they_end(
    told: Warehouse, acme: Company, settings: Settings, post: Post
) -> None:
    with told.connect() as conn:
        change_company(conn, "acme", {"notifications.quiet_hours": ["20:00", "07:00"]}, "tests")
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
        one = company(told, f"firm_{number}")
        with told.connect() as conn:
            _run(conn, one.company_id, "sync", "failed", "API key refused <b>")
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
        hold(conn, acme.company_id, date(2026, 10, 5), MONDAY, {"no sudden loss": "4 after 20"})
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
    assert "no sudden loss: 4 after 20" in html
    assert "Promoted: churn_acme v2 scores instead of v1. Better by 0.03." in html
    assert "The source has 300 customers, and had 1,000 in the week before." in html
    assert "Degraded: scores now rest on a rule, and rested on a model of its own." in html
    assert pending(told, settings) == []


def test_a_late_source_is_told_once_for_the_whole_outage(
    told: Warehouse, acme: Company, settings: Settings, post: Post
) -> None:
    with told.connect() as conn:
        change_company(conn, "acme", {"notifications.tell": ["late_source"]}, "tests")
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


def test_a_test_message_reaches_every_address_and_an_address_that_leads_nowhere_is_named(
    told: Warehouse, acme: Company, settings: Settings, post: Post
) -> None:
    with told.connect() as conn:
        changed = change_company(
            conn, "acme", {"notification_addresses": ["dana@acme.example", "env:HOOK", "env:NOT_SET"]}, "tests"
        )
    lines = send_test(settings, changed)
    assert sorted(line.outcome for line in lines) == ["not sent", "sent", "sent"]
    assert "NOT_SET" in str(lines[0])
    assert "a test of Churn Warehouse" in post.mails[0]["Subject"]
    assert log(told) == []


def test_a_companys_messages_go_when_it_is_removed(told: Warehouse, acme: Company, settings: Settings) -> None:
    publish(told, acme, date(2026, 10, 5), {"c 3/ü": 10})
    send_digests(told, settings)
    with told.connect() as conn:
        erased = erase_rows(conn, acme.company_id)
    assert erased["ops.notifications"] == erased["ops.notified_alerts"] == 2


def test_metabase_is_told_which_companies_get_a_weekly_report_of_ours(
    told: Warehouse, acme: Company, settings: Settings
) -> None:
    def reported(settings: Settings) -> bool:
        (facts,) = [facts for facts in company_facts(told, settings) if facts.slug == acme.slug]
        return facts.has_weekly_report

    assert reported(settings)
    assert not reported(settings.model_copy(update={"mail_url": None}))
    with told.connect() as conn:
        change_company(conn, acme.slug, {"notifications.weekly_report_on": None}, "tests")
    assert not reported(settings)
