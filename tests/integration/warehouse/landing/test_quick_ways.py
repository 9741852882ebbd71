"""Records that are new, or that say what is known, land by short ways: with the same versions as by the long one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from pipeline.connectors.contract import PAYMENTS
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.landing import insertion
from warehouse.landing.listing import Listing, TooManyVanished
from warehouse.landing.version_log import VersionLog
from warehouse.roles import Role

START = datetime(2025, 6, 1, tzinfo=UTC)
RECORD = st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.booleans())
DAY = st.tuples(
    st.lists(st.lists(RECORD, max_size=3), min_size=1, max_size=3),
    st.booleans(),
    st.none() | st.sets(st.sampled_from("abc"), min_size=1),
)
"""A day's chunks, whether they are stamped, and which records the source lists, where it lists them."""


@pytest.fixture
def places(warehouse: Warehouse, add_company: Callable[..., Company]) -> tuple[Warehouse, Company, Company]:
    return warehouse, add_company("quick"), add_company("slow")


def chunk(records: list[tuple[str, int, bool]], day: int, *, is_stamped: bool) -> pa.Table:
    rows = [
        {
            "payment_id": name,
            "customer_id": "c1",
            "kind": None if is_deleted else "charge",
            "updated_at": START + timedelta(days=moved if is_stamped else day),
            "is_deleted": is_deleted,
        }
        for name, moved, is_deleted in records
    ]
    return pa.Table.from_pylist(rows, PAYMENTS.schema)


def live(warehouse: Warehouse, company: Company, days: list[Any]) -> tuple[list[Any], list[Any]]:
    """What is stored, and the counts of each day's load."""
    counts = []
    with warehouse.connect(Role.loader, autocommit=True) as connection:
        versions = VersionLog(connection, company.company_id, "payments")
        for number, (chunks, is_stamped, listed) in enumerate(days, 1):
            with versions.lock():
                load = versions.open_load(updated_since=None, known_at=START + timedelta(days=number))
                for records in chunks:
                    accepted = chunk(records, number, is_stamped=is_stamped)
                    versions.land_chunk(
                        load,
                        accepted,
                        (),
                        received=accepted.num_rows,
                        cursor=None,
                        reject_limit=1,
                        is_stamped=is_stamped,
                    )
                if listed is not None:
                    listing = Listing(connection, company.company_id, "payments")
                    listing.add(pa.array(sorted(listed), pa.string()))
                    with suppress(TooManyVanished):
                        load.vanished = listing.bury_vanished(load_id=load.load_id, known_at=load.known_at)
                versions.complete_load(load, source_live=None, source_deleted=None, warehouse=None)
            counts.append((load.received, load.loaded, load.unchanged, load.vanished, versions.count_records()))
    with warehouse.connect() as connection:
        stored = connection.execute(
            sql.SQL(
                "select payment_id, updated_at, revision, made_at, known_at, is_backfill, is_deleted, is_vanished,"
                " kind, dense_rank() over (order by load_id) from raw.payments where company_id = %s order by 1, 2, 3"
            ),
            (company.company_id,),
        ).fetchall()
        connection.execute("delete from raw.payments where company_id = %s", (company.company_id,))
        connection.execute("delete from ops.sync_cursors where company_id = %s", (company.company_id,))
    return stored, counts


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(days=st.lists(DAY, min_size=2, max_size=4))
@example([([[("a", 1, False)]], True, {"c"}), ([[("a", 1, True)]], True, None)])
def test_the_short_ways_store_what_the_long_one_does(
    places: tuple[Warehouse, Company, Company], days: list[Any]
) -> None:
    warehouse, quick, slow = places
    by_short_ways = live(warehouse, quick, days)
    with patch.object(insertion, "_is_each_given_once", return_value=False):
        by_the_long_one = live(warehouse, slow, days)
    assert by_short_ways == by_the_long_one
