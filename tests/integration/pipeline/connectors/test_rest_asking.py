"""The REST connector: keys, rates, hosts, and answers that nobody described."""

from __future__ import annotations

import gzip
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.connectors.errors import AccessDenied, SourceUnreachable, UnexpectedResponse
from tests.integration.pipeline.connectors.stand_ins.server import Answer, Asked
from tests.integration.pipeline.connectors.stand_ins.shelf import Shelf
from tests.integration.pipeline.connectors.stand_ins.shelf_company import (
    ALL,
    PAGES,
    SECRETS,
    endpoint,
    failure,
    filled_shelf,
    ids,
    read,
    source,
)


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with filled_shelf() as standing:
        yield standing


AUTHENTICATIONS: list[dict[str, Any]] = [
    {"kind": "bearer", "token": "env:KEY"},
    {"kind": "basic", "username": "reader", "password": "env:KEY"},
    {"kind": "header", "name": "X-Shelf-Key", "api_key": "env:KEY"},
    {"kind": "oauth2", "token_url": "/oauth/token", "client_id": "us", "client_secret": "env:CLIENT"},
    {
        "kind": "oauth2", "token_url": "/oauth/token", "client_id": "us", "client_secret": "env:CLIENT",
        "refresh_token": "env:REFRESH",
    },
]  # fmt: skip


@pytest.mark.parametrize("auth", AUTHENTICATIONS)
def test_every_authentication_lets_us_in(shelf: Shelf, auth: dict[str, Any]) -> None:
    assert ids(read(source(shelf, auth=auth))) == ALL


def test_a_token_that_expires_amid_pages_is_fetched_again(shelf: Shelf) -> None:
    shelf.expires_after = 2
    assert ids(read(source(shelf, auth=AUTHENTICATIONS[3]))) == ALL
    assert shelf.tokens == 2


def test_a_refresh_token_that_changes_is_refused_before_the_old_one_is_lost(shelf: Shelf) -> None:
    shelf.turns_refresh_tokens = True
    error = failure(source(shelf, auth=AUTHENTICATIONS[4]))
    assert "another refresh token each time" in str(error)
    assert "another-1" not in str(error)


@pytest.mark.parametrize("auth", AUTHENTICATIONS)
def test_no_secret_is_in_an_error_or_a_log(
    shelf: Shelf, auth: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def tell(asked: Asked, _: int) -> Answer | None:
        if asked.path == "/oauth/token":
            return None
        return 403, {}, {"message": f"not for {asked.headers.get('authorization')} {asked.headers.get('x-shelf-key')}"}

    shelf.misbehave = tell
    error = failure(source(shelf, auth=auth))
    assert isinstance(error, AccessDenied)
    assert "connector_settings.auth (" in str(error)
    for secret in (*SECRETS.values(), "fetched-1"):
        assert secret not in f"{error} {error!r} {error.__cause__!r} {caplog.text}"


def test_429_is_waited_out_as_long_as_it_says(shelf: Shelf) -> None:
    shelf.misbehave = lambda _, number: (429, {"Retry-After": "1"}, {}) if number == 2 else None
    started = time.monotonic()
    assert ids(read(source(shelf))) == ALL
    assert time.monotonic() - started >= 1


def test_patience_ends(shelf: Shelf) -> None:
    shelf.misbehave = lambda *_: (503, {}, {"message": "tired"})
    error = failure(source(shelf))
    assert isinstance(error, SourceUnreachable)
    assert 'kept answering 503, "tired"' in str(error)


def test_a_rate_is_kept(shelf: Shelf) -> None:
    started = time.monotonic()
    read(source(shelf, rate={"per_minute": 300}))
    assert time.monotonic() - started >= 0.4, "three requests, 0.2 s apart"


def test_a_header_that_says_none_are_left_makes_a_pause(shelf: Shelf) -> None:
    def none_left(asked: Asked, number: int) -> Answer | None:
        status, headers, body = shelf.respond(asked)
        return status, headers | ({"X-Left": "0", "X-Reset": "0.5"} if number == 1 else {"X-Left": "7"}), body

    shelf.misbehave = none_left
    started = time.monotonic()
    assert ids(read(source(shelf, rate={"remaining": "X-Left", "reset": "X-Reset"}))) == ALL
    assert time.monotonic() - started >= 0.5


@pytest.mark.parametrize(
    "link",
    ["http://elsewhere.example/next", "//elsewhere.example/next", "https://127.0.0.1/next", "http://127.0.0.1:1/next"],
)
def test_a_next_link_to_another_host_is_refused(shelf: Shelf, link: str) -> None:
    shelf.misbehave = lambda *_: (200, {}, {"items": [], "next": link})
    error = failure(source(shelf, endpoint("next")))
    assert isinstance(error, UnexpectedResponse)
    assert "which is another host" in str(error)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, {}, b"<html>hello</html>"), "does not answer in JSON"),
        ((200, {}, {"data": []}), "has no list at items"),
        ((200, {}, {"items": {"id": 1}}), "has no list at items"),
        ((302, {"Location": "http://elsewhere.example/"}, {}), "redirects to http://elsewhere.example/"),
        ((200, {}, {"items": [], "meta": {"next": "7"}}), "lead round in a circle"),
        ((422, {}, {"message": "no such filter"}), 'answers 422, "no such filter"'),
    ],
)
def test_an_answer_that_nobody_described_is_an_error(shelf: Shelf, answer: Answer, message: str) -> None:
    shelf.misbehave = lambda *_: answer
    error = failure(source(shelf))
    assert isinstance(error, UnexpectedResponse)
    assert message in str(error)


@pytest.mark.parametrize("link", [7, {"href": "/next"}, ["/next"], True])
def test_a_next_link_that_is_no_address_is_an_error(shelf: Shelf, link: Any) -> None:
    shelf.misbehave = lambda *_: (200, {}, {"items": [], "next": link})
    assert isinstance(failure(source(shelf, endpoint("next"))), UnexpectedResponse)


def test_a_page_that_says_there_is_more_and_not_where_is_an_error(shelf: Shelf) -> None:
    shelf.misbehave = lambda *_: (200, {}, {"items": [], "has_more": True})
    error = failure(source(shelf, endpoint(pages=PAGES["cursor"] | {"more": "has_more"})))
    assert "says that there is more, and not where" in str(error)


def test_records_that_must_not_come_fail_the_load(shelf: Shelf) -> None:
    described = endpoint(refuse={"when": "id == 'p0013'", "because": "these are records of a test."})
    assert "these are records of a test" in str(failure(source(shelf, described)))


def test_seeking_loses_nothing_that_is_deleted_or_changed_while_pages_are_read(shelf: Shelf) -> None:
    def take_away(page: int) -> None:
        if page == 2:
            shelf.records = [given for given in shelf.records if given["id"] > "p0004"]

    shelf.before_page = take_away
    assert ids(read(source(shelf, endpoint("seek")))) == ALL


@pytest.mark.parametrize("auth", [AUTHENTICATIONS[0], AUTHENTICATIONS[3]], ids=["key", "token"])
def test_neither_api_nor_token_may_be_on_the_warehouses_own_network(
    shelf: Shelf, auth: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHURN_PRIVATE_SOURCES")
    error = failure(source(shelf, auth=auth))
    assert isinstance(error, AccessDenied)
    assert "which is not on the internet" in str(error)
    assert shelf.asked == []


def test_a_secret_is_not_carried_to_where_a_token_redirects(shelf: Shelf) -> None:
    shelf.misbehave = lambda *_: (307, {"Location": f"{shelf.url}/elsewhere"}, {})
    assert "it redirects to" in str(failure(source(shelf, auth=AUTHENTICATIONS[3])))
    assert [asked.path for asked in shelf.asked] == ["/oauth/token"]


def test_an_answer_that_unpacks_without_measure_is_refused(shelf: Shelf) -> None:
    bomb = gzip.compress(b"[" + b" " * (80 * 2**20) + b"]")
    shelf.misbehave = lambda *_: (200, {"Content-Encoding": "gzip"}, bomb)
    assert "larger than 64 MiB" in str(failure(source(shelf)))


def test_an_answer_nested_too_deep_is_refused(shelf: Shelf) -> None:
    shelf.misbehave = lambda *_: (200, {}, b'{"items":' + b"[" * 200_000 + b"]" * 200_000 + b"}")
    assert isinstance(failure(source(shelf)), UnexpectedResponse)
