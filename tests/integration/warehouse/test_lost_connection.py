"""Postgres that goes away and comes back: which errors are of that kind, and who is the one writer afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import adbc_driver_manager
import psycopg
import pytest
import sqlalchemy as sa

from tests.integration.warehouse.embedded.processes import kill
from warehouse.connection import Warehouse
from warehouse.embedded.server import EmbeddedServer
from warehouse.errors import WarehouseUnreachable
from warehouse.lost_connection import comes_back, is_lost_connection, resumed, says_lost
from warehouse.one_writer import NO_WAIT, current_writer, one_writer
from warehouse.settings import Settings

CUT = (
    "select pg_terminate_backend(pid) from pg_stat_activity"
    " where pid <> pg_backend_pid() and datname = current_database()"
)


def cut_all(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute(CUT)


def psycopg_bare(warehouse: Warehouse) -> None:
    with psycopg.connect(warehouse.url("postgresql")) as connection:
        cut_all(warehouse)
        connection.execute("select 1")


def ours(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        cut_all(warehouse)
        connection.execute("select 1")


def adbc(warehouse: Warehouse) -> None:
    connection = warehouse.adbc()
    try:
        with connection.cursor() as cursor:
            cut_all(warehouse)
            cursor.execute("select 1")
    finally:
        with suppress(adbc_driver_manager.Error):
            connection.close()


def sqlalchemy_psycopg(warehouse: Warehouse) -> None:
    engine = sa.create_engine(warehouse.url())
    with engine.connect() as connection:
        cut_all(warehouse)
        connection.execute(sa.text("select 1"))


def nowhere(_: Warehouse) -> None:
    Warehouse("postgresql://churn:x@127.0.0.1:1/churn").connect()


@pytest.mark.parametrize("lose", [psycopg_bare, ours, adbc, sqlalchemy_psycopg, nowhere])
def test_a_cut_line_is_known_whichever_driver_tells_of_it(
    warehouse: Warehouse, lose: Callable[[Warehouse], None]
) -> None:
    with pytest.raises(Exception) as told:  # noqa: PT011 - each driver has its own
        lose(warehouse)
    assert is_lost_connection(told.value), repr(told.value)


@pytest.mark.parametrize("query", ["select 1/0", "select nothing", "select cast('x' as int)"])
def test_what_the_server_says_of_a_query_is_no_lost_line(warehouse: Warehouse, query: str) -> None:
    with pytest.raises(psycopg.Error) as told, warehouse.connect() as connection:
        connection.execute(query)  # type: ignore[call-overload]
    assert not is_lost_connection(told.value)
    assert not says_lost(str(told.value))


@pytest.mark.parametrize(
    ("words", "is_lost"),
    [
        ('Database Error\n  connection to server at "127.0.0.1", port 1 failed: Connection refused', True),
        ("Database Error in model a\n  server closed the connection unexpectedly", True),
        ("Database Error in model a\n  terminating connection due to administrator command", True),
        ("Database Error\n  FATAL:  the database system is in recovery mode", True),
        ("Database Error in model a\n  division by zero", False),
        ("Database Error in model a\n  canceling statement due to lock timeout", False),
        ('Database Error in model a\n  could not extend file "base/1": No space left on device', False),
    ],
)
def test_dbts_words_are_known_for_what_they_tell_of(words: str, is_lost: bool) -> None:
    assert says_lost(words) == is_lost


def test_the_one_writer_is_it_again_after_its_session_was_cut(warehouse: Warehouse) -> None:
    told: list[str] = []
    tries = 0

    def work() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            ours(warehouse)
        with warehouse.connect() as connection:
            writer = current_writer(connection)
        assert writer is not None
        assert "churn score" in str(writer)

    with one_writer(warehouse, "churn score", wait=NO_WAIT):
        resumed(warehouse, work, told.append)
        assert tries == 2
        assert "Lost the warehouse" in told[0]
    with warehouse.connect() as connection:
        assert current_writer(connection) is None


def test_an_embedded_server_that_died_is_started_again(tmp_path: Path) -> None:
    with Warehouse.open(Settings(home=tmp_path, database_url=None)) as warehouse:
        with warehouse.connect() as connection:
            connection.execute("create table kept as select 7 as number")
        pid = EmbeddedServer(tmp_path).status().pid
        assert pid is not None
        kill(pid)

        def read() -> object:
            with warehouse.connect() as connection:
                return connection.execute("select number from kept").fetchone()

        assert resumed(warehouse, read, lambda _: None) == (7,)


def test_a_server_that_stays_away_is_waited_for_so_long_and_no_longer() -> None:
    begun = time.monotonic()
    away = Warehouse("postgresql://churn:x@127.0.0.1:1/churn")
    assert not comes_back(away, lambda _: None, timedelta(seconds=1))
    assert time.monotonic() - begun < 5
    with pytest.raises(WarehouseUnreachable):
        away.connect()
