"""What goes to Sentry: which error, where, of which company and stage, and nothing that names a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from orchestration import error_reports
from warehouse.settings import Settings, load_settings


class Kept(Transport):
    """Keeps what would have been sent."""

    sent: list[dict[str, Any]] = []  # noqa: RUF012  (Sentry makes the transport itself)

    def capture_envelope(self, envelope: Envelope) -> None:
        event = envelope.get_event()
        if event is not None:
            self.sent.append(dict(event))


@pytest.fixture
def sentry(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    monkeypatch.setenv("SENTRY_DSN", "https://key@sentry.example/1")
    Kept.sent.clear()
    init = sentry_sdk.init
    monkeypatch.setattr(sentry_sdk, "init", lambda **options: init(**options, transport=Kept))
    assert error_reports.start(load_settings())
    yield Kept.sent
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


def test_nothing_is_reported_where_no_address_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SENTRY_DSN", raising=False)
    assert not error_reports.start(Settings())


def test_an_error_is_reported_with_company_and_stage_and_without_what_it_quotes(
    sentry: list[dict[str, Any]],
) -> None:
    customer = "anna@example.com"
    try:
        raise ValueError(f"duplicate key: {customer}")
    except ValueError as error:
        error_reports.report(error, company="acme", stage="sync", run_id="r1")
    (event,) = sentry
    assert event["tags"] == {"company": "acme", "stage": "sync", "dagster_run_id": "r1"}
    (raised,) = event["exception"]["values"]
    assert raised["type"] == "ValueError"
    assert raised["stacktrace"]["frames"][-1]["function"].startswith("test_an_error_is_reported")
    assert customer not in json.dumps(event, default=str)
