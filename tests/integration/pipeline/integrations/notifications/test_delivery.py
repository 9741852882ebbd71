"""Sending to real servers: what is tried again, what is left in doubt, and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from pipeline.companies import parse_definition
from pipeline.integrations.notifications.channels import Recipient
from pipeline.integrations.notifications.sending import send_digests, send_test
from tests.integration.pipeline.integrations.notifications.arrivals import Post, log, outcomes, publish
from warehouse.companies.definition import Company
from warehouse.companies.registry import change_company
from warehouse.connection import Warehouse
from warehouse.logs import notifications as notification_log
from warehouse.privacy.company_removal import erase_rows
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("notifications")


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
    monkeypatch.setenv("CHURN_SOURCE_ACME__HOOK", f"json://127.0.0.1:{post.http_port}/hooks/T0KEN-of-acme")
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


def test_a_test_message_reaches_every_address_and_an_address_that_leads_nowhere_is_named(
    told: Warehouse, acme: Company, settings: Settings, post: Post
) -> None:
    with told.connect() as conn:
        changed = change_company(
            conn,
            "acme",
            {
                "notification_addresses": [
                    "dana@acme.example",
                    "env:CHURN_SOURCE_ACME__HOOK",
                    "env:CHURN_SOURCE_ACME__NOT_SET",
                ]
            },
            "tests",
            parse_definition,
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
