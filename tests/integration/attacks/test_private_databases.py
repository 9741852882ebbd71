"""A company's database is said to be on the warehouse's machine, beside it, or at a name that comes to mean that."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from pipeline.connectors.contract import ENTITIES
from pipeline.connectors.errors import AccessDenied, SourceUnreachable
from pipeline.connectors.sql_database import SqlDatabase, SqlSettings
from pipeline.connectors.sql_places import fence_in
from pipeline.connectors.time_limit import TimeLimit
from pipeline.connectors.validation import Reading
from pipeline.reach import OutOfReach
from tests.integration.conftest import TestServer
from warehouse.connection import Warehouse
from warehouse.settings import Settings

READING = Reading(ZoneInfo("UTC"), datetime(2026, 1, 1, tzinfo=UTC))
SOURCE = SqlSettings.model_validate({"url": "file:url", "tables": {"customers": {"table": "customers"}}})


@pytest.fixture(autouse=True)
def nothing_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHURN_PRIVATE_SOURCES")


@contextmanager
def listener(address: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    """A port that takes connections; they wait in its queue, so that whoever came can be counted."""
    with socket.create_server((address, port)) as server:
        server.settimeout(0.2)
        yield server


def has_been_asked(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except TimeoutError:
        return False
    return True


def read(url: str, operators: Settings) -> None:
    with closing(SqlDatabase("acme", SOURCE, url, READING, operators)) as source:
        list(source.read(ENTITIES["customers"], None, 10))


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
@pytest.mark.parametrize(
    "place",
    [
        "127.0.0.1:{port}/crm", "localhost:{port}/crm", "127.1:{port}/crm", "2130706433:{port}/crm",
        "0.0.0.0:{port}/crm", "/crm?host=127.0.0.1&port={port}", "/crm?host=127.0.0.1:{port}",
        "crm.example.com:{port}/crm?hostaddr=127.0.0.1", "/crm?hostaddr=127.0.0.1&port={port}",
        "/crm?host=127.0.0.1:{port}&host=127.0.0.1:{port}", "[::ffff:127.0.0.1]:{port}/crm",
    ],
)  # fmt: skip
def test_no_database_of_this_machine_is_asked_under_any_name(driver: str, place: str, tmp_path: Path) -> None:
    with listener() as server:
        address = f"{driver}://u:p@{place.format(port=server.getsockname()[1])}"
        with pytest.raises(AccessDenied, match="CHURN_PRIVATE_SOURCES"):
            read(address, Settings(home=tmp_path))
        assert not has_been_asked(server)


@pytest.mark.parametrize(
    "place", ["169.254.169.254/crm", "10.1.2.3/crm", "[fd00::1]/crm", "/crm", "/crm?host=/tmp", "/crm?host=@x"]
)
def test_neighbours_and_sockets_are_refused(place: str, tmp_path: Path) -> None:
    with pytest.raises(AccessDenied):
        read(f"postgresql+psycopg://u:p@{place}", Settings(home=tmp_path))


def test_what_the_environment_says_of_postgres_leads_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with listener() as server:
        monkeypatch.setenv("PGHOST", "127.0.0.1")
        monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
        monkeypatch.setenv("PGPORT", str(server.getsockname()[1]))
        with pytest.raises(AccessDenied):
            read("postgresql+psycopg://u:p@/crm", Settings(home=tmp_path))
        assert not has_been_asked(server)


def test_a_name_that_changes_after_it_was_looked_at_leads_to_the_first_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = rebound(monkeypatch, "127.0.0.2", "127.0.0.1")
    with listener() as inside:
        with pytest.raises(SourceUnreachable):
            read(f"postgresql://u:p@rebound.example:{inside.getsockname()[1]}/crm", allowing(tmp_path, "127.0.0.2"))
        assert not has_been_asked(inside)
    assert asked == ["rebound.example"]


def test_a_name_that_comes_to_mean_the_warehouses_own_server_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres: TestServer, warehouse: Warehouse
) -> None:
    ours = sa.make_url(postgres.server.url())
    operators = Settings.model_validate(
        {"home": tmp_path, "database_url": warehouse.url(), "private_sources": "127.0.0.0/8"}
    )
    rebound(monkeypatch, "127.0.0.1", "127.0.0.1")
    address = ours.set(drivername="postgresql+psycopg", host="rebound.example").render_as_string(hide_password=False)
    with pytest.raises(AccessDenied, match="the warehouse's own Postgres"):
        read(address, operators)


def test_a_driver_with_sockets_of_its_own_is_watched_while_it_connects(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As pymysql's and oracledb's are: Python's own, by which a server may also be looked for elsewhere."""
    with listener() as inside:
        port = inside.getsockname()[1]
        engine = sa.create_engine(f"postgresql+psycopg://u:p@rebound.example:{port}/crm")
        driver = SimpleNamespace(
            driver="in_python", connect=lambda **named: socket.create_connection((named["host"], port))
        )
        fence_in(engine, allowing(tmp_path, "127.0.0.2"), TimeLimit("acme", "database"))
        rebound(monkeypatch, "127.0.0.2", "127.0.0.1")
        (connect,) = engine.dialect.dispatch.do_connect
        with pytest.raises(OutOfReach, match=r"127\.0\.0\.1"):
            connect(driver, None, [], {"host": "rebound.example"})
        assert not has_been_asked(inside)


def allowing(home: Path, network: str) -> Settings:
    return Settings(home=home, private_sources=network)


def rebound(monkeypatch: pytest.MonkeyPatch, first: str, then: str) -> list[str]:
    """The name rebound.example means one address when it is first asked for, and another from then on."""
    real, asked = socket.getaddrinfo, list[str]()

    def resolve(host: Any, port: Any, *arguments: Any, **named: Any) -> Any:
        if host != "rebound.example":
            return real(host, port, *arguments, **named)
        asked.append(host)
        return real(first if len(asked) == 1 else then, port, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked
