"""The REST connector: how lists of an API become records of ours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipeline.connectors.contract import PAYMENTS
from tests.integration.pipeline.connectors.stand_ins.shelf import Shelf, record
from tests.integration.pipeline.connectors.stand_ins.shelf_company import (
    ALL,
    FIELDS,
    NOW,
    PAGES,
    endpoint,
    failure,
    filled_shelf,
    ids,
    read,
    reasons,
    source,
)


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with filled_shelf() as standing:
        yield standing


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


def test_what_is_no_object_is_rejected_and_not_passed_over_by_a_condition(shelf: Shelf) -> None:
    shelf.misbehave = lambda *_: (200, {}, {"items": ["p1", 7, None, record(1, "2025-02-01T00:00:00Z")]})
    (chunk, _) = read(source(shelf, endpoint(where="id == 'p0001'")))
    assert (chunk.received, len(chunk.rejected), chunk.accepted.num_rows) == (4, 3, 1)


@pytest.mark.parametrize("members", [7, {"id": 1}, "r1"])
def test_members_that_are_no_list_fail_the_load(shelf: Shelf, members: Any) -> None:
    shelf.records[3]["refunds"] = members
    assert "refunds of a record is no list" in str(failure(source(shelf, endpoint(each="refunds"))))


def test_a_condition_that_cannot_be_judged_fails_the_load(shelf: Shelf) -> None:
    error = failure(source(shelf, endpoint(where="contains(tags, 'vip')")))
    assert "cannot be read by contains(tags, 'vip')" in str(error)
