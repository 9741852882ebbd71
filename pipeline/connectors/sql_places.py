"""Which databases a company's address may lead to: neither the warehouse's own server, nor a file of anybody else's.

Over the network they are where CRMs may be (`Reach`). That is looked at when a connection is made, by the addresses
that are then connected: libpq is given them, and the sockets of drivers in Python are watched.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipeline.connectors.errors import AccessDenied
from pipeline.connectors.registry import Access
from pipeline.connectors.time_limit import TimeLimit
from pipeline.reach import OutOfReach, Reach
from warehouse.own_server import DEFAULT_PORT, is_own_place, is_own_server
from warehouse.settings import Settings

_OWN = "that is the warehouse's own Postgres, which holds every company's records"
_SOCKET = "its address names no host, or a socket of this machine, which is not on the internet"
LARGEST_VALUE = 16 * 2**20
_STEPS_BETWEEN_LOOKS = 100_000
_LIBPQ = {"psycopg", "psycopg2"}


def refuse_place_of_others(access: Access, reference: str, address: str) -> None:
    """Raises AccessDenied where the address is the warehouse's own Postgres, or SQLite outside the company's folder.

    `reference` is what the company's settings say instead of the address. What is no address at all is not judged.
    """
    try:
        url = sa.make_url(address)
    except (sa.exc.ArgumentError, ValueError):
        return
    source = f"database {reference}"
    if is_own_server(url, access.settings):
        raise AccessDenied(
            access.company,
            source,
            f"{_OWN}.",
            f"Give the address of the company's database where {reference} points.",
        )
    folders = [root / access.company for root in access.settings.import_roots]
    if url.get_backend_name() == "sqlite" and not _lies_in(folders, url):
        raise AccessDenied(
            access.company,
            source,
            f"that is no file of {access.company}'s: its files lie in {' or '.join(map(str, folders))}.",
            "Put the database there; CHURN_IMPORT_FOLDERS names further places that hold a folder per company.",
        )


def fence_in(engine: sa.Engine, settings: Settings, limit: TimeLimit) -> None:
    """From here on each connection of the engine leads where a source may be, or raises OutOfReach.

    SQLite calculates in this process, and its file may hold views: a query ends with the load's time, and no value is
    larger than LARGEST_VALUE bytes.
    """
    if engine.dialect.name != "sqlite":
        sa.event.listen(engine, "do_connect", _Fence(engine.url, settings).connect)
        return

    def bound(connection: sqlite3.Connection, _: object) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
        connection.set_progress_handler(lambda: limit.seconds_left <= 0, _STEPS_BETWEEN_LOOKS)

    sa.event.listen(engine, "connect", bound)


class _Fence:
    def __init__(self, url: sa.URL, settings: Settings) -> None:
        self._url = url
        self._settings = settings
        self._reach = Reach(settings)

    def connect(self, dialect: Any, _: object, positional: Any, named: dict[str, Any]) -> Any:
        """SQLAlchemy's `do_connect`: the driver's connection, to addresses that were looked at."""
        if dialect.driver in _LIBPQ:
            return dialect.connect(*positional, **named | self._addresses_for_libpq(named))
        # A driver in C that is not libpq looks the name up again by itself.
        self._looked_at(str(self._url.host or ""), self._url.port or 0)
        with self._reach.fence() as refusals:
            try:
                return dialect.connect(*positional, **named)
            except Exception as error:
                if refusals:
                    raise OutOfReach(refusals[0]) from None
                raise error from None

    def _addresses_for_libpq(self, named: dict[str, Any]) -> dict[str, str]:
        """Each address with the name that its certificate is compared with, and its port."""
        hosts = str(named.get("host") or named.get("hostaddr") or "").split(",")
        targets = str(named.get("hostaddr") or ",".join(hosts)).split(",")
        ports = [int(port or DEFAULT_PORT) for port in str(named.get("port") or DEFAULT_PORT).split(",")]
        ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
        if len(targets) != len(hosts):
            raise OutOfReach("its address has as many hosts as it should have addresses, and does not")
        places = [
            (host, address, port)
            for host, target, port in zip(hosts, targets, ports, strict=True)
            for address in self._looked_at(target, port)
        ]
        names, addresses, numbers = (",".join(map(str, column)) for column in zip(*places, strict=True))
        return {"host": names, "hostaddr": addresses, "port": numbers}

    def _looked_at(self, host: str, port: int) -> list[str]:
        if not host or host.startswith(("/", "@")):
            raise OutOfReach(_SOCKET)
        addresses = self._reach.addresses(host, port)
        if any(is_own_place(address, port, self._settings) for address in addresses):
            raise OutOfReach(_OWN)
        return addresses


def _lies_in(folders: list[Path], url: sa.URL) -> bool:
    """Whether a plain path leads into one of the folders, links followed. A URI of SQLite's own may say anything."""
    if not url.database or url.database.startswith((":", "file:")) or "uri" in url.query:
        return False
    try:
        file = Path(url.database).resolve()
        return not file.is_dir() and any(file.is_relative_to(folder.resolve()) for folder in folders)
    except (OSError, RuntimeError, ValueError):
        return False
