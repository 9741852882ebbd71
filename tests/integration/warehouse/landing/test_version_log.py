"""Versions land once, together with their cursor."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from pipeline.connectors.contract import CUSTOMERS, PAYMENTS, Chunk
from pipeline.connectors.validation import Reading, validate_records
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.frames import copy_arrow, read_arrow
from warehouse.landing.records import RejectedRecord
from warehouse.landing.version_log import LoadInProgress, RejectLimitExceeded, VersionLog
from warehouse.roles import Role

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def company(add_company: Callable[..., Company]) -> Company:
    return add_company("acme")


@pytest.fixture
def versions(warehouse: Warehouse, company: Company) -> Iterator[VersionLog]:
    with warehouse.connect(Role.loader, autocommit=True) as connection:
        yield VersionLog(connection, company.company_id, "payments")


def payments(*numbers: int, **changes: Any) -> Chunk:
    records = [
        {
            "payment_id": f"p{number}",
            "customer_id": "c1",
            "kind": "charge",
            "amount": f"{number}.5",
            "issued_at": NOW - timedelta(days=number),
            "updated_at": NOW - timedelta(days=100 - number),
            "note": "näher\n\"'\\",
        }
        | changes
        for number in numbers
    ]
    return validate_records(PAYMENTS, records, Reading(ZoneInfo("UTC"), NOW))


def land(versions: VersionLog, chunk: Chunk, *, known_at: datetime = NOW, complete: bool = True) -> Any:
    with versions.lock():
        load = versions.open_load(updated_since=None, known_at=known_at)
        versions.land_chunk(
            load,
            chunk.accepted,
            chunk.rejected,
            received=chunk.received,
            cursor=chunk.cursor,
            reject_limit=0.05,
        )
        if complete:
            versions.complete_load(load, source_live=None, source_deleted=None, warehouse=None)
    return load


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connect(Role.operator) as connection:
        return connection.execute(query).fetchall()


def test_a_first_load_knows_its_versions_from_when_they_were_made(warehouse: Warehouse, versions: VersionLog) -> None:
    land(versions, payments(1, 2))
    (first, _) = rows(
        warehouse,
        "select payment_id, amount, known_at = updated_at, is_backfill, attributes->>'note', is_deleted"
        " from raw.payments order by payment_id",
    )
    assert first == ("p1", Decimal("1.5000"), True, True, "näher\n\"'\\", False)
    land(versions, payments(3), known_at=NOW + timedelta(days=1))
    assert rows(warehouse, "select known_at, is_backfill from raw.payments where payment_id = 'p3'") == [
        (NOW + timedelta(days=1), False)
    ]


def test_a_load_that_was_cut_short_is_still_a_first_load_when_it_goes_on(
    warehouse: Warehouse, versions: VersionLog
) -> None:
    land(versions, payments(1), complete=False)
    land(versions, payments(2), known_at=NOW + timedelta(days=3))
    assert rows(warehouse, "select bool_and(is_backfill), bool_and(known_at = updated_at) from raw.payments") == [
        (True, True)
    ]
    assert rows(warehouse, "select status, error is not null from ops.load_log order by load_id") == [
        ("failed", True),
        ("succeeded", False),
    ]


def test_the_same_chunk_again_adds_nothing(warehouse: Warehouse, versions: VersionLog) -> None:
    assert land(versions, payments(1, 2)).loaded == 2
    again = land(versions, payments(1, 2, 3))
    assert (again.received, again.loaded, again.unchanged) == (3, 1, 2)
    assert rows(warehouse, "select count(*) from raw.payments") == [(3,)]


def test_the_cursor_moves_forward_only_and_never_past_now(versions: VersionLog) -> None:
    land(versions, payments(7))
    assert versions.cursor().updated_at == NOW - timedelta(days=93)
    land(versions, payments(2))
    assert versions.cursor().updated_at == NOW - timedelta(days=93)
    land(versions, payments(8, updated_at=NOW + timedelta(hours=3)))
    assert versions.cursor().updated_at == NOW


def test_a_chunk_that_postgres_refuses_leaves_neither_rows_nor_rejects_nor_cursor(
    warehouse: Warehouse, versions: VersionLog
) -> None:
    chunk = payments(1)
    bad = pa.table(chunk.accepted.to_pydict() | {"kind": ["gift"]}, schema=PAYMENTS.schema)
    rejected = (RejectedRecord("p9", "why", "{}"),)
    with versions.lock():
        load = versions.open_load(updated_since=None, known_at=NOW)
        with pytest.raises(psycopg.errors.CheckViolation):
            versions.land_chunk(load, bad, rejected, received=2, cursor=NOW, reject_limit=1)
    assert rows(warehouse, "select count(*) from raw.payments") == [(0,)]
    assert rows(warehouse, "select count(*) from raw.rejected_records") == [(0,)]
    assert versions.cursor().updated_at is None


def test_too_many_rejects_stay_on_record_but_nothing_else_of_the_chunk_does(
    warehouse: Warehouse, versions: VersionLog
) -> None:
    records = [{"payment_id": f"x{number}"} for number in range(3)]
    bad = validate_records(PAYMENTS, records, Reading(ZoneInfo("UTC"), NOW))
    good = payments(1, 2)
    with versions.lock():
        load = versions.open_load(updated_since=None, known_at=NOW)
        with pytest.raises(
            RejectLimitExceeded, match=r"3 of 5 records .* most often: .* is missing .*\(3\)\. 2 others"
        ):
            versions.land_chunk(load, good.accepted, bad.rejected, received=5, cursor=good.cursor, reject_limit=0.5)
    assert rows(warehouse, "select count(*) from raw.payments") == [(0,)]
    assert rows(warehouse, "select record_id, payload->>'payment_id' from raw.rejected_records order by 1") == [
        ("x0", "x0"),
        ("x1", "x1"),
        ("x2", "x2"),
    ]
    assert versions.cursor().updated_at is None
    assert rows(warehouse, "select received, loaded, unchanged, rejected from ops.load_log") == [(3, 0, 0, 3)]
    assert (load.received, load.loaded, load.unchanged, load.rejected) == (3, 0, 0, 3)


def test_a_rejected_record_stands_once_and_what_a_load_left_behind_does_not_fail_the_next(
    warehouse: Warehouse, versions: VersionLog
) -> None:
    records = [{"payment_id": f"x{number}"} for number in range(2)]
    bad = validate_records(PAYMENTS, records, Reading(ZoneInfo("UTC"), NOW))
    many = payments(*range(1, 99))
    with versions.lock():
        load = versions.open_load(updated_since=None, known_at=NOW)
        versions.land_chunk(load, many.accepted, bad.rejected, received=100, cursor=None, reject_limit=0.05)
        versions.complete_load(load, source_live=None, source_deleted=None, warehouse=None)
    again = land(versions, bad)
    assert (again.received, again.rejected) == (2, 2)
    assert rows(warehouse, "select count(*) from raw.rejected_records") == [(2,)]


def test_rejects_of_a_failed_load_fail_the_next_one_too(versions: VersionLog) -> None:
    records = [{"payment_id": f"x{number}"} for number in range(2)]
    bad = validate_records(PAYMENTS, records, Reading(ZoneInfo("UTC"), NOW))
    for _ in range(2):
        with pytest.raises(RejectLimitExceeded):
            land(versions, bad)


def test_a_single_reject_never_fails_a_small_load_unless_none_is_allowed(versions: VersionLog) -> None:
    bad = validate_records(PAYMENTS, [{"payment_id": "x"}], Reading(ZoneInfo("UTC"), NOW))
    with versions.lock():
        load = versions.open_load(updated_since=None, known_at=NOW)
        versions.land_chunk(load, bad.accepted, bad.rejected, received=1, cursor=None, reject_limit=0.05)
        with pytest.raises(RejectLimitExceeded):
            versions.land_chunk(load, bad.accepted, bad.rejected, received=1, cursor=None, reject_limit=0)


def test_a_second_load_of_the_same_entity_waits_and_then_says_so(
    warehouse: Warehouse, company: Company, versions: VersionLog
) -> None:
    with versions.lock(), warehouse.connect(Role.loader, autocommit=True) as connection:
        second = VersionLog(connection, company.company_id, "payments")
        with pytest.raises(LoadInProgress, match="another load is still running"), second.lock(wait_seconds=1):
            pass
        with VersionLog(connection, company.company_id, "customers").lock(wait_seconds=1):
            pass
    with versions.lock(wait_seconds=1):
        pass


def test_records_are_counted_by_their_newest_version(versions: VersionLog) -> None:
    land(versions, payments(1, 2, 3))
    land(versions, payments(2, is_deleted=True, updated_at=NOW))
    land(versions, payments(3, is_deleted=True, updated_at=NOW - timedelta(days=200)))
    counts = versions.count_records()
    assert (counts.live, counts.deleted, counts.rejected) == (2, 1, 0)


def test_a_rejected_record_counts_until_a_later_load_mends_it(versions: VersionLog) -> None:
    land(versions, payments(1, amount="?"))
    assert versions.count_records().rejected == 1
    land(versions, payments(1))
    assert versions.count_records().rejected == 0


def test_arrow_goes_into_postgres_and_comes_out_again(warehouse: Warehouse) -> None:
    amounts = ["0", "-0.0001", "99999999999999.9999", "-12.3400", "10000", "0.5", None]
    table = pa.table(
        {
            "amount": pa.array([None if text is None else Decimal(text) for text in amounts], pa.decimal128(18, 4)),
            "happened_at": pa.array(
                [datetime(1900, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, 23, 59, 59, 999_999, UTC)] + [None] * 5,
                pa.timestamp("us", "UTC"),
            ),
            "day": pa.array([datetime(1999, 1, 2).date()] * 7, pa.date32()),  # noqa: DTZ001
            "number": pa.array([2**31 - 1, -(2**31), 0, None, 1, 2, 3], pa.int32()),
            "share": pa.array([0.1, -1e-300, None, 1.0, 2.0, 3.0, 4.0]),
            "flag": pa.array([True, False, None, True, True, True, True]),
            "words": pa.array(["", "ü\t\n\\N", None, "a", "b", "c", "d"]),
            "extra": pa.array([json.dumps({"a": [1, None]}), "{}", None, "1", "null", "[]", '"x"']),
        }
    )
    with warehouse.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "create temporary table target (amount numeric(18,4), happened_at timestamptz, day date, number int,"
            " share float8, flag bool, words text, extra jsonb)"
        )
        assert copy_arrow(cursor, table, "target", json_columns=["extra"]) == 7
        cursor.execute("select amount, happened_at, day, number, share, flag, words, extra from target")
        stored = cursor.fetchall()
    expected = table.to_pylist()
    for row, wanted in zip(stored, expected, strict=True):
        wanted["extra"] = None if wanted["extra"] is None else json.loads(wanted["extra"])
        assert row == tuple(wanted.values())


def test_a_query_comes_back_as_arrow(warehouse: Warehouse, versions: VersionLog) -> None:
    land(versions, payments(1, 2))
    table = read_arrow(
        warehouse,
        sql.SQL("select payment_id, issued_at from raw.payments where payment_id = {}").format("p2"),
        Role.operator,
    )
    assert table.to_pylist() == [{"payment_id": "p2", "issued_at": NOW - timedelta(days=2)}]


def test_the_log_refuses_a_connection_that_is_in_a_transaction_of_its_own(
    warehouse: Warehouse, company: Company
) -> None:
    with warehouse.connect(Role.loader) as connection, pytest.raises(ValueError, match="autocommit"):
        VersionLog(connection, company.company_id, CUSTOMERS.name)
