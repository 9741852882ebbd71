"""Sources that never answer, or answer for ever: each is given up in time, and told of as what it is."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from pipeline.connectors.contract import ENTITIES
from pipeline.connectors.errors import SourceTooSlow, SourceUnreachable
from pipeline.connectors.habari_api import HabariApi, HabariSettings
from pipeline.connectors.http_source import Patience
from pipeline.connectors.sql_database import SqlDatabase, SqlSettings
from pipeline.connectors.time_limit import TimeLimit
from pipeline.connectors.validation import Reading
from pipeline.reach import Reach
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, crm, payment, refusal
from warehouse.connection import Warehouse
from warehouse.settings import Settings

READING = Reading(time_zone=ZoneInfo("UTC"), now=datetime(2025, 6, 1, tzinfo=UTC))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on a port of its own that does as told with each connection, all of them open until the end."""
    ended = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def accept() -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            threading.Thread(target=_served, args=(serve, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        for each in (listener, *connections):
            each.close()


def _served(serve: Callable[[socket.socket], None], connection: socket.socket) -> None:
    try:
        serve(connection)
    except OSError:
        return


def say_nothing(_: socket.socket) -> None:
    """Take the request, and never answer."""


def dribble(head: bytes, piece: bytes = b" ") -> Callable[[socket.socket], None]:
    """A piece every tenth of a second for ever, so that no single read waits long."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(0.1)

    return serve


def api(port: int, limit: TimeLimit, **patience: float) -> HabariApi:
    settings = HabariSettings(base_url=f"http://127.0.0.1:{port}", api_key="env:KEY")
    reach = Reach(Settings(private_sources="127.0.0.0/8"))
    return HabariApi("acme", settings, API_KEY, READING, reach, Patience(**patience), limit)  # type: ignore[arg-type]


def limits(request: float = 60, load: float = 60, whole: float = 60) -> TimeLimit:
    return TimeLimit("acme", "connector habari_api", request, load, whole)


@pytest.mark.parametrize(
    "serve",
    [
        say_nothing,
        dribble(b"HTTP/1.1 200 OK\r\nX-Slow: "),
        dribble(HEAD + b"Content-Length: 100000\r\n\r\n"),
        dribble(CHUNKED, b"1\r\n \r\n"),
    ],
    ids=["never answers", "head by the byte", "body by the byte", "chunks by the byte"],
)
def test_a_request_takes_its_time_in_all_and_is_not_tried_again(serve: Callable[[socket.socket], None]) -> None:
    with server(serve) as port:
        source = api(port, limits(request=0.6))
        begun = time.monotonic()
        with pytest.raises(SourceTooSlow, match=r"acme.*longer than 0.6 s \(CHURN_REQUEST_SECONDS\).*goes on from"):
            list(source.read(ENTITIES["payments"], None, 10))
        assert time.monotonic() - begun < 3
        source.close()


def test_pages_that_each_come_in_time_are_not_for_ever() -> None:
    with crm({"payments": [payment(number, "2025-02-01T00:00:00Z") for number in range(400)]}) as stand_in:
        stand_in.misbehave = lambda *_: time.sleep(0.1)
        limit = limits(load=0.5)
        settings = HabariSettings(base_url=stand_in.url, api_key="env:KEY", page_size=1)
        source = HabariApi("acme", settings, API_KEY, READING, Reach(Settings()), limit=limit)
        with pytest.raises(SourceTooSlow, match=r"this load took longer than 0\.5 s"), limit.one_load():
            list(source.read(ENTITIES["payments"], None, 10))


def test_a_pause_that_the_source_asks_for_ends_with_the_load() -> None:
    with crm({}) as stand_in:
        stand_in.misbehave = lambda *_: refusal(429, "slow down", Retry_After="60")
        limit = limits(load=0.5)
        settings = HabariSettings(base_url=stand_in.url, api_key="env:KEY")
        source = HabariApi("acme", settings, API_KEY, READING, Reach(Settings()), limit=limit)
        begun = time.monotonic()
        with pytest.raises(SourceTooSlow, match="this load"), limit.one_load():
            list(source.read(ENTITIES["payments"], None, 10))
        assert time.monotonic() - begun < 3


def test_the_companys_time_is_that_of_all_its_loads() -> None:
    limit = limits(load=60, whole=0.2)
    with limit.one_load():
        time.sleep(0.25)
        with pytest.raises(SourceTooSlow, match=r"reading the company took longer than 0.2 s \(CHURN_COMPANY_SECONDS"):
            limit.check()
    with pytest.raises(SourceTooSlow, match="CHURN_COMPANY_SECONDS"), limit.one_load():
        pass


def test_a_line_that_breaks_is_told_as_such() -> None:
    def break_off(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(CHUNKED + b'5\r\n{"da')
        connection.shutdown(socket.SHUT_RDWR)

    with server(break_off) as port:
        source = api(port, limits(), attempts=1)
        with pytest.raises(SourceUnreachable, match=r"the line to .* broke while it answered") as told:
            list(source.read(ENTITIES["payments"], None, 10))
        assert "Compare" not in str(told.value)


def test_a_database_that_lets_nobody_in_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.connectors.sql_database.CONNECT_SECONDS", 2)
    with server(say_nothing) as port:
        settings = SqlSettings(url="env:URL", tables={"payments": {"table": "payments"}})
        source = SqlDatabase("acme", settings, f"postgresql+psycopg://u:p@127.0.0.1:{port}/crm", READING, Settings())
        begun = time.monotonic()
        with pytest.raises(SourceUnreachable, match="timeout"):
            list(source.read(ENTITIES["payments"], None, 10))
        assert time.monotonic() - begun < 10


# psycopg minds that a cursor in the server is not closed by a line that was cut.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_query_that_does_not_end_is_cut_with_its_load_and_the_next_load_reads_again(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute(
            "create table wait (seconds int); insert into wait values (60);"
            "create view customers_slowly as select 'c1' as customer_id, timestamptz '2025-01-05' as updated_at,"
            " timestamptz '2025-01-01' as created_at from wait where pg_sleep(seconds) is not null"
        )
    limit = TimeLimit("acme", "connector sql_database", load=1)
    settings = SqlSettings(url="env:URL", tables={"customers": {"table": "customers_slowly"}})
    source = SqlDatabase("acme", settings, warehouse.url(), READING, Settings(), limit)
    begun = time.monotonic()
    with pytest.raises(SourceTooSlow, match="this load took longer than 1 s"), limit.one_load():
        list(source.read(ENTITIES["customers"], None, 10))
    assert time.monotonic() - begun < 10
    with warehouse.connect() as connection:
        connection.execute("update wait set seconds = 0")
    limit.load = 60
    with limit.one_load():
        (chunk,) = source.read(ENTITIES["customers"], None, 10)
    assert chunk.received == 1
    source.close()
