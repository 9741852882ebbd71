"""The Habari CRM API, read over real HTTP."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.connectors.contract import CUSTOMERS, PAYMENTS, Chunk, Totals
from pipeline.connectors.errors import (
    AccessDenied,
    ConnectorError,
    SourceNotFound,
    SourceUnreachable,
    UnexpectedResponse,
)
from pipeline.connectors.habari_api import HabariApi, HabariSettings
from pipeline.connectors.http_source import Patience
from pipeline.connectors.validation import Reading
from pipeline.reach import Reach
from tests.integration.pipeline.connectors.habari_stand_in import (
    API_KEY,
    Answer,
    StandIn,
    answer,
    crm,
    payment,
    refusal,
)
from warehouse.settings import Settings

READING = Reading(ZoneInfo("Europe/Berlin"), datetime(2025, 6, 1, tzinfo=UTC))
QUICK = Patience(attempts=3, backoff_seconds=0.01, longest_pause_seconds=2, connect_seconds=1, read_seconds=1)


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    payments = [payment(number, f"2025-02-01T00:{number:02}:00Z") for number in range(25)]
    with crm({"payments": payments}) as running:
        yield running


def api(url: str, key: str = API_KEY, page_size: int = 10) -> HabariApi:
    settings = HabariSettings(base_url=url, api_key="env:KEY", page_size=page_size)
    return HabariApi("acme", settings, key, READING, Reach(Settings()), QUICK)


def read(source: HabariApi, since: datetime | None = None, chunk_rows: int = 1000) -> list[Chunk]:
    return list(source.read(PAYMENTS, since, chunk_rows))


def ids(chunks: list[Chunk]) -> list[str]:
    return [identifier for chunk in chunks for identifier in chunk.accepted["payment_id"].to_pylist()]


def failure(source: HabariApi) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught:
        read(source)
    assert str(caught.value).startswith("Company acme, source Habari CRM at http://127.0.0.1")
    return caught.value


def test_all_pages_are_read_and_gathered_into_chunks(stand_in: StandIn) -> None:
    chunks = read(api(stand_in.url), chunk_rows=15)
    assert [chunk.received for chunk in chunks] == [20, 5]
    assert ids(chunks) == [f"p{number}" for number in range(25)]
    assert chunks[-1].cursor == datetime(2025, 2, 1, 0, 24, tzinfo=UTC)


def test_fields_come_under_the_contracts_names_and_custom_ones_as_attributes(stand_in: StandIn) -> None:
    stand_in.records["customers"] = [
        {
            "id": "c1",
            "created_at": "2025-01-01T00:00:00+02:00",
            "updated_at": "2025-01-02T00:00:00Z",
            "monthly_price": "49.00",
            "custom": {"region": "north"},
            "favourite": 7,
        }
    ]
    (chunk,) = api(stand_in.url).read(CUSTOMERS, None, 10)
    (row,) = chunk.accepted.to_pylist()
    assert row["created_at"] == datetime(2024, 12, 31, 22, tzinfo=UTC)
    assert row["attributes"] == '{"favourite":7,"region":"north"}'


def test_a_tombstone_is_a_deleted_version(stand_in: StandIn) -> None:
    stand_in.records["payments"] = [{"id": "p1", "updated_at": "2025-01-02T00:00:00Z", "deleted": True}]
    (chunk,) = read(api(stand_in.url))
    assert chunk.accepted.select(["payment_id", "is_deleted", "amount"]).to_pylist() == [
        {"payment_id": "p1", "is_deleted": True, "amount": None}
    ]


def test_only_what_changed_since_is_asked_for_boundary_included(stand_in: StandIn) -> None:
    chunks = read(api(stand_in.url), since=datetime(2025, 2, 1, 0, 22, tzinfo=UTC))
    assert ids(chunks) == ["p22", "p23", "p24"]


def test_totals_are_the_crms_own(stand_in: StandIn) -> None:
    assert api(stand_in.url).totals(PAYMENTS) == Totals(live=25, deleted=0)


def test_429_and_503_are_waited_out_and_nothing_is_lost(stand_in: StandIn) -> None:
    def now_and_then(path: str, parameters: dict[str, str], number: int) -> Answer | None:
        if number == 2:
            return refusal(429, "slow down", Retry_After="1")
        return refusal(503, "tired") if number in (4, 5) else None

    stand_in.misbehave = now_and_then
    started = time.monotonic()
    assert ids(read(api(stand_in.url))) == [f"p{number}" for number in range(25)]
    assert 1 <= time.monotonic() - started < 5
    assert len(stand_in.requests) == 6


def test_patience_ends(stand_in: StandIn) -> None:
    stand_in.misbehave = lambda *_: refusal(503, "down for the day")
    error = failure(api(stand_in.url))
    assert isinstance(error, SourceUnreachable)
    assert 'kept answering 503, "down for the day"' in str(error)
    assert len(stand_in.requests) == QUICK.attempts


def test_a_wrong_key_is_an_error_that_says_where_the_key_comes_from_and_never_shows_it(
    stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    error = failure(api(stand_in.url, key="wrong-and-secret"))
    assert isinstance(error, AccessDenied)
    assert "refuses the API key (401" in str(error)
    assert "env:KEY" in str(error)
    seen = f"{error} {error!r} {error.__cause__!r} {caplog.text}"
    assert "wrong-and-secret" not in seen
    assert error.__suppress_context__


def test_a_good_key_is_in_no_log_at_any_level(stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("dlt").setLevel(logging.DEBUG)
    caplog.set_level(logging.DEBUG)
    read(api(stand_in.url))
    assert API_KEY not in caplog.text


def test_an_unreachable_crm_is_an_error_with_its_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = failure(api(f"http://127.0.0.1:{port}"))
    assert isinstance(error, SourceUnreachable)
    assert "Connection refused" in str(error)
    assert len(str(error)) < 400


def test_a_crm_that_never_answers_is_given_up(stand_in: StandIn) -> None:
    def sleep(*_: Any) -> None:
        time.sleep(1.5)

    stand_in.misbehave = sleep
    source = HabariApi(
        "acme",
        HabariSettings(base_url=stand_in.url, api_key="env:KEY"),
        API_KEY,
        READING,
        Reach(Settings()),
        Patience(attempts=1, read_seconds=0.3),
    )
    assert isinstance(failure(source), SourceUnreachable)


@pytest.mark.parametrize(
    ("odd", "kind", "message"),
    [
        (refusal(404, "no such page"), SourceNotFound, "without /api/v1"),
        (refusal(422, "bad parameter"), UnexpectedResponse, 'answers 422, "bad parameter"'),
        (answer(302, {}, Location="http://elsewhere/"), UnexpectedResponse, "redirects to http://elsewhere/"),
        ((200, {}, b"<html>hello</html>"), UnexpectedResponse, "does not answer in JSON"),
        (answer(200, []), UnexpectedResponse, "no list named data"),
        (answer(200, {"items": []}), UnexpectedResponse, "no list named data"),
        (answer(200, {"data": {"id": 1}}), UnexpectedResponse, "no list named data"),
        (answer(200, {"data": [], "next_cursor": 5}), UnexpectedResponse, "next_cursor is not text"),
        (answer(200, {"data": [], "next_cursor": "same"}), UnexpectedResponse, "one that was followed before"),
    ],
)
def test_an_answer_that_the_description_does_not_allow_is_an_error(
    stand_in: StandIn, odd: Answer, kind: type[ConnectorError], message: str
) -> None:
    stand_in.misbehave = lambda *_: odd
    error = failure(api(stand_in.url))
    assert isinstance(error, kind)
    assert message in str(error)


def test_pages_that_lead_round_in_a_circle_end(stand_in: StandIn) -> None:
    following = {None: "a", "a": "b", "b": "c", "c": "a"}

    def circle(path: str, parameters: dict[str, str], _: int) -> Answer | None:
        return answer(200, {"data": [], "next_cursor": following[parameters.get("cursor")]})

    stand_in.misbehave = circle
    with pytest.raises(UnexpectedResponse, match="one that was followed before"):
        read(api(stand_in.url))
    assert len(stand_in.asked("payments")) == 4


def test_a_key_that_the_crm_echoes_is_struck_out(stand_in: StandIn) -> None:
    stand_in.misbehave = lambda *_: refusal(400, f"what is {API_KEY}?")
    assert API_KEY not in str(failure(api(stand_in.url)))


def test_a_redirect_never_carries_the_key_away(stand_in: StandIn) -> None:
    with crm({}) as elsewhere:
        stand_in.misbehave = lambda *_: answer(307, {}, Location=f"{elsewhere.url}/api/v1/payments")
        failure(api(stand_in.url))
        assert elsewhere.requests == []


@pytest.mark.parametrize("totals", [{}, {"payments": 3}, {"payments": {"live": "3", "deleted": 0}}])
def test_totals_that_are_no_totals_are_an_error(stand_in: StandIn, totals: object) -> None:
    stand_in.misbehave = lambda *_: answer(200, totals)
    with pytest.raises(UnexpectedResponse, match="totals"):
        api(stand_in.url).totals(PAYMENTS)
