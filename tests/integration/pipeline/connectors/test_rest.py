"""The REST connector, against an API over real HTTP that pages and asks for keys in every way."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from pipeline.connectors.contract import PAYMENTS, Chunk
from pipeline.connectors.errors import AccessDenied, ConnectorError, SourceUnreachable, UnexpectedResponse
from pipeline.connectors.http_source import Patience
from pipeline.connectors.rest import RestSettings, RestSource
from pipeline.connectors.validation import Reading
from pipeline.reach import Reach
from tests.integration.pipeline.connectors.stand_ins.server import Answer, Asked, served
from tests.integration.pipeline.connectors.stand_ins.shelf import (
    CLIENT_SECRET,
    KEY,
    REFRESH_TOKEN,
    Shelf,
    record,
)
from warehouse.settings import Settings

NOW = datetime(2025, 6, 1, tzinfo=UTC)
READING = Reading(ZoneInfo("Europe/Berlin"), NOW)
QUICK = Patience(attempts=3, backoff_seconds=0.01, longest_pause_seconds=2, connect_seconds=1, read_seconds=1)
SECRETS = {"env:KEY": KEY, "env:CLIENT": CLIENT_SECRET, "env:REFRESH": REFRESH_TOKEN}
PAGES: dict[str, dict[str, Any]] = {
    "cursor": {"kind": "cursor", "path": "meta.next", "param": "at"},
    "next": {"kind": "next_link", "path": "next"},
    "link": {"kind": "header_link"},
    "offset": {"kind": "offset", "size": 10, "param": "at"},
    "page": {"kind": "page", "param": "page"},
    "seek": {"kind": "seek", "last": "id", "more": "has_more"},
}
FIELDS: dict[str, Any] = {
    "payment_id": "id",
    "customer_id": "owner.id",
    "updated_at": "changed",
    "kind": {"constant": "charge"},
    "status": {"path": "state", "values": {"ok": "succeeded", "lost": "failed"}},
    "amount": {"path": "cents", "unit": "minor"},
    "currency": {"path": "money", "case": "upper"},
    "issued_at": {"path": "booked", "format": "epoch_seconds"},
    "is_deleted": "state == 'gone'",
}


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    standing = Shelf(records=[record(number, f"2025-02-01T00:{number:02}:00Z") for number in range(25)])
    with served(standing):
        yield standing


def endpoint(kind: str = "cursor", **changes: Any) -> dict[str, Any]:
    params = {"since": "{since}"} | ({"after": "{last}"} if kind == "seek" else {})
    return {
        "path": f"/{kind}",
        "params": params,
        "records": None if kind == "link" else "items",
        "pages": PAGES[kind],
        "since": {},
        "fields": FIELDS,
    } | changes


def source(
    shelf: Shelf, *endpoints: dict[str, Any], patience: Patience = QUICK, complete: bool = True, **changes: Any
) -> RestSource:
    settings = {
        "base_url": shelf.url,
        "auth": {"kind": "bearer", "token": "env:KEY"},
        "entities": {"payments": {"complete": complete, "endpoints": list(endpoints or [endpoint()])}},
    } | changes
    return RestSource(
        "acme", RestSettings.model_validate(settings), SECRETS.__getitem__, READING, Reach(Settings()), patience
    )


def read(from_source: RestSource, since: datetime | None = None, chunk_rows: int = 1000) -> list[Chunk]:
    return list(from_source.read(PAYMENTS, since, chunk_rows))


def ids(chunks: list[Chunk]) -> list[str]:
    return [identifier for chunk in chunks for identifier in chunk.accepted["payment_id"].to_pylist()]


def reasons(chunks: list[Chunk]) -> list[str]:
    return [rejected.reason for chunk in chunks for rejected in chunk.rejected]


def failure(from_source: RestSource) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught:
        read(from_source)
    return caught.value


ALL = [f"p{number:04}" for number in range(25)]


@pytest.mark.parametrize("kind", PAGES)
def test_every_way_of_paging_gives_every_record_once(shelf: Shelf, kind: str) -> None:
    chunks = read(source(shelf, endpoint(kind)), chunk_rows=7)
    assert ids(chunks) == ALL
    assert sum(chunk.received for chunk in chunks) == 25
    assert reasons(chunks) == []


@pytest.mark.parametrize("kind", PAGES)
def test_only_what_changed_since_is_asked_for_boundary_included(shelf: Shelf, kind: str) -> None:
    chunks = read(source(shelf, endpoint(kind)), datetime(2025, 2, 1, 0, 22, tzinfo=UTC))
    assert ids(chunks) == ALL[22:]


def test_a_body_takes_the_filter_and_the_cursor(shelf: Shelf) -> None:
    described = endpoint(
        method="POST",
        params={},
        body={"since": "{since}"},
        since={"first": "1970-01-01T00:00:00Z"},
        pages={"kind": "cursor", "path": "meta.next", "body": "at"},
    )
    assert ids(read(source(shelf, described))) == ALL
    assert [asked.body for asked in shelf.asked] == [
        {"since": "1970-01-01T00:00:00Z"} | ({"at": at} if at else {}) for at in (None, "10", "20")
    ]


def test_a_window_looks_again_for_late_edits(shelf: Shelf) -> None:
    chunks = read(source(shelf, endpoint(since={"window_hours": 0.05})), datetime(2025, 2, 1, 0, 22, tzinfo=UTC))
    assert ids(chunks) == ALL[19:]


def test_fields_are_ours(shelf: Shelf) -> None:
    shelf.records = [record(7, "2025-02-01T00:00:00Z", state="lost", tags=["a"])]
    described = endpoint(attributes={"first_tag": "tags[0]"})
    (chunk, _) = read(source(shelf, described))
    (row,) = chunk.accepted.to_pylist()
    assert row["amount"] == Decimal("7.25")
    assert (row["currency"], row["kind"], row["status"], row["customer_id"]) == ("EUR", "charge", "failed", "c0")
    assert row["issued_at"] == datetime(2025, 1, 1, 0, 0, 7, tzinfo=UTC)
    assert row["attributes"] == '{"first_tag":"a"}'


@pytest.mark.parametrize(
    ("money", "cents", "amount"),
    [("jpy", 1250, "1250"), ("kwd", 1250, "1.25"), ("EUR", -5, None), ("isk", 1250, "12.50"), ("eur", "1250", "12.5")],
)
def test_minor_units_have_their_currencys_digits(shelf: Shelf, money: str, cents: Any, amount: str | None) -> None:
    shelf.records = [record(1, "2025-02-01T00:00:00Z", money=money, cents=cents)]
    (chunk, _) = read(source(shelf, exponents={"ISK": 2}))
    assert chunk.accepted["amount"].to_pylist() == ([] if amount is None else [Decimal(amount)])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"money": "zzz"}, 'amount is in minor units of "zzz", which is no currency'),
        ({"money": None}, "amount is in minor units of a currency that the record does not name"),
        ({"cents": 12.5}, 'amount "12.5" is not a whole number of minor units'),
        ({"owner": None}, "customer_id is missing"),
        ({"state": "?"}, 'status "?" is unknown'),
        ({"booked": "yesterday"}, 'issued_at "yesterday" is not a date as a number'),
    ],
)
def test_what_is_rejected_names_endpoint_record_and_field(shelf: Shelf, changes: dict[str, Any], reason: str) -> None:
    shelf.records = [record(1, "2025-02-01T00:00:00Z", **changes), record(2, "2025-02-01T00:00:00Z")]
    (chunk, _) = read(source(shelf))
    (rejected,) = chunk.rejected
    assert rejected.record_id == "p0001"
    assert rejected.reason.startswith(f"/cursor: {reason}")
    assert chunk.received == 2
    assert sorted((chunk.listed or pa.array([])).to_pylist()) == ["p0001", "p0002"]


def test_a_function_that_does_not_take_a_value_rejects_its_record(shelf: Shelf) -> None:
    described = endpoint(fields=FIELDS | {"method": "join('-', tags)"})
    (chunk,) = read(source(shelf, described))
    assert len(chunk.rejected) == 25
    assert "method cannot be read by join('-', tags)" in chunk.rejected[0].reason


def test_a_deletion_by_status_needs_nothing_but_its_id(shelf: Shelf) -> None:
    shelf.records = [{"id": "p1", "changed": "2025-02-01T00:00:00Z", "state": "gone", "cents": 5}]
    (chunk, _) = read(source(shelf))
    assert chunk.accepted.select(["payment_id", "is_deleted"]).to_pylist() == [{"payment_id": "p1", "is_deleted": True}]


def test_a_list_of_its_own_may_tell_of_deletions(shelf: Shelf) -> None:
    deletions = endpoint(
        "next",
        fields={"payment_id": "id", "updated_at": "changed", "is_deleted": {"constant": True}},
        where="id == 'p0003'",
    )
    chunks = read(source(shelf, endpoint(), deletions))
    assert [row["payment_id"] for chunk in chunks for row in chunk.accepted.to_pylist() if row["is_deleted"]] == [
        "p0003"
    ]


def test_members_of_each_record_know_their_parent(shelf: Shelf) -> None:
    shelf.records = [record(1, "2025-02-01T00:00:00Z", refunds=[{"id": "r1", "cents": 50}, {"id": "r2", "cents": 60}])]
    refunds = endpoint(
        each="refunds",
        fields=FIELDS
        | {"customer_id": "parent.owner.id", "kind": {"constant": "refund"}, "updated_at": "parent.changed"}
        | {"status": {"constant": "succeeded"}, "currency": {"path": "parent.money", "case": "upper"}}
        | {"issued_at": {"path": "parent.booked", "format": "epoch_seconds"}},
    )
    (chunk, _) = read(source(shelf, refunds))
    rows = chunk.accepted.select(["payment_id", "customer_id", "amount"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [("r1", "c1", Decimal("0.5")), ("r2", "c1", Decimal("0.6"))]


def test_children_are_asked_for_by_their_parents(shelf: Shelf) -> None:
    shelf.details = {"p0003": [record(103, "2025-02-01T00:00:00Z")], "p0020": [record(120, "2025-02-01T00:00:00Z")]}
    parent = {name: value for name, value in endpoint().items() if name != "fields"}
    described = {"path": "/details/{id}", "records": "items", "fields": FIELDS, "parent": parent}
    assert ids(read(source(shelf, described))) == ["p0103", "p0120"]


def test_what_stands_elsewhere_is_looked_up_in_batches(shelf: Shelf) -> None:
    lookup = {
        "path": "/batch", "batch": 4, "body": {"wanted": "{ids}"}, "item": {"key": "{id}"},
        "records": "found", "key": "whose",
    }  # fmt: skip
    described = endpoint(lookups={"tagged": lookup}, fields=FIELDS | {"method": "tagged[0].tags"})
    chunks = read(source(shelf, described))
    assert [row["method"] for chunk in chunks for row in chunk.accepted.to_pylist()] == [f"tag of {id}" for id in ALL]
    assert len(shelf.asked_for("/batch")) == 3 + 3 + 2


def test_a_list_of_changes_names_records_that_are_fetched_as_they_are_now(shelf: Shelf) -> None:
    changes = {
        "path": "/next", "records": "items", "pages": PAGES["next"], "id": "id", "record": "/one/{id}",
        "reach_days": 30, "params": {"since": "{since}"}, "since": {},
    }  # fmt: skip
    fields = {name: given for name, given in FIELDS.items() if name != "updated_at"}
    described = endpoint(fields=fields, changes=changes, params={"since": "2025-02-01T00:24:00Z"})
    since = NOW - timedelta(days=1)
    shelf.records[3]["changed"] = "2025-05-31T12:00:00Z"
    chunks = read(source(shelf, described), since)
    assert sorted(ids(chunks)) == ["p0003", "p0024"]
    assert [chunk.cursor for chunk in chunks][-1] == NOW
    assert not any(chunk.is_stamped for chunk in chunks[:-1])
    shelf.asked.clear()
    read(source(shelf, described), NOW - timedelta(days=31))
    assert not shelf.asked_for("/one/p0003"), "what the list no longer reaches is read whole"


def test_without_order_the_cursor_moves_at_the_end_and_never_past_now(shelf: Shelf) -> None:
    shelf.records[5]["changed"] = "2025-06-01T12:00:00Z"
    chunks = read(source(shelf), chunk_rows=5)
    assert [chunk.cursor for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].cursor == NOW
    assert chunks[-1].received == 0


def test_in_order_the_cursor_moves_with_each_chunk(shelf: Shelf) -> None:
    chunks = read(source(shelf, endpoint(in_order=True)), chunk_rows=10)
    assert [chunk.cursor and chunk.cursor.minute for chunk in chunks] == [9, 19, 24]


def test_what_cannot_be_asked_by_time_is_read_whole_and_in_order(shelf: Shelf) -> None:
    shelf.records.reverse()
    for number, given in enumerate(shelf.records):
        given["changed"] = f"2025-02-01T00:{59 - number:02}:00Z"
    whole = source(shelf, endpoint(since=None, params={}))
    assert whole.reads_whole(PAYMENTS)
    chunks = read(whole, chunk_rows=10)
    cursors = [chunk.cursor for chunk in chunks]
    assert cursors == sorted(filter(None, cursors))
    assert sorted(ids(chunks)) == ALL


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
