"""A mail server, a webhook, and a company that is told by both."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller

from tests.integration.pipeline.integrations.notifications.arrivals import MONDAY, Post, company
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.settings import Settings


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
    monkeypatch.setenv("CHURN_SOURCE_ACME__HOOK", f"json://127.0.0.1:{post.http_port}/hooks/T0KEN-of-acme")
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
    return company(told, "acme", notification_addresses=["dana@acme.example", "env:CHURN_SOURCE_ACME__HOOK"])
