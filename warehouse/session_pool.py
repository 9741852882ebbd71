"""Sessions that are kept open between requests, each for one login for all of its life.

None is passed on between logins: to be given the wrong one there would have to be the wrong password.
"""

from __future__ import annotations

import select
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from warehouse import sessions
from warehouse.companies.api_keys import Access
from warehouse.connection import APPLICATION, CONNECT_TIMEOUT_SECONDS, Warehouse
from warehouse.errors import WarehouseError

Connection = psycopg.Connection[Any]

_READING = (
    "-c statement_timeout=10s -c lock_timeout=2s -c idle_in_transaction_session_timeout=15s"
    " -c default_transaction_read_only=on"
)


class SessionsTaken(WarehouseError):
    """Every session of a login, or all together, were in use for as long as a request waits."""


class SessionPool:
    """At most ``most`` sessions, ``most_of_a_login`` of each login; the one that rested longest goes for a new one."""

    def __init__(self, *, most: int, most_of_a_login: int, longest_wait: float = 2.0) -> None:
        """``longest_wait`` is in seconds."""
        self._most, self._most_of_a_login, self._longest_wait = most, most_of_a_login, longest_wait
        self._changed = threading.Condition()
        self._resting: OrderedDict[int, tuple[str, Connection]] = OrderedDict()
        self._open: dict[str, int] = {}
        self._is_closed = False

    @contextmanager
    def session(self, login: str, connect: Callable[[], Connection]) -> Iterator[Connection]:
        """A session of this login: one that rests, or what ``connect`` opens. It rests again where all went well.

        Raises SessionsTaken, and what ``connect`` raises.
        """
        connection = self._take(login) or self._opened(login, connect)
        is_sound = False
        try:
            yield connection
            is_sound = connection.info.transaction_status == TransactionStatus.IDLE
        except psycopg.OperationalError:
            # Where one was cut off, others were too; those that are sound are opened again in milliseconds.
            self.clear()
            raise
        finally:
            self._give_back(login, connection, is_sound)

    def clear(self) -> None:
        """Close every session that rests."""
        with self._changed:
            resting = list(self._resting.values())
            self._resting.clear()
            for login, _ in resting:
                self._count(login, -1)
            self._changed.notify_all()
        for _, connection in resting:
            connection.close()

    def close(self) -> None:
        """Close every session that rests, and those in use when they are given back."""
        self._is_closed = True
        self.clear()

    def _take(self, login: str) -> Connection | None:
        """A session that rests, or None where a new one may be opened, for which a place is kept then."""
        deadline = time.monotonic() + self._longest_wait
        with self._changed:
            while True:
                while (connection := self._rested(login)) is not None:
                    if not _is_cut_off(connection):
                        return connection
                    self._count(login, -1)
                    connection.close()
                if self._open.get(login, 0) < self._most_of_a_login and self._has_room():
                    self._count(login, 1)
                    return None
                if not self._changed.wait(deadline - time.monotonic()):
                    raise SessionsTaken("All sessions that read for this key are in use.")

    def _rested(self, login: str) -> Connection | None:
        for number in reversed(self._resting):
            if self._resting[number][0] == login:
                return self._resting.pop(number)[1]
        return None

    def _has_room(self) -> bool:
        if sum(self._open.values()) < self._most:
            return True
        if not self._resting:
            return False
        _, (login, connection) = self._resting.popitem(last=False)
        self._count(login, -1)
        connection.close()
        return True

    def _opened(self, login: str, connect: Callable[[], Connection]) -> Connection:
        try:
            return connect()
        except BaseException:
            with self._changed:
                self._count(login, -1)
                self._changed.notify()
            raise

    def _give_back(self, login: str, connection: Connection, is_sound: bool) -> None:
        with self._changed:
            if is_sound and not self._is_closed:
                self._resting[id(connection)] = (login, connection)
            else:
                self._count(login, -1)
                connection.close()
            self._changed.notify()

    def _count(self, login: str, change: int) -> None:
        self._open[login] = self._open.get(login, 0) + change
        if not self._open[login]:
            del self._open[login]


class CompanyReader:
    """Reads for the holder of a key: as the key's own login, in transactions that see one moment and write nothing."""

    def __init__(self, warehouse: Warehouse, *, most: int = 48, most_of_a_login: int = 4) -> None:
        self._warehouse = warehouse
        self._pool = SessionPool(most=most, most_of_a_login=most_of_a_login)

    @contextmanager
    def reading(self, access: Access) -> Iterator[Connection]:
        """Raises SessionsTaken, and psycopg.OperationalError where the server or the login is away."""
        with self._pool.session(access.login, lambda: self._connect(access)) as connection, connection.transaction():
            yield connection

    def close(self) -> None:
        """Close all sessions."""
        self._pool.close()

    def _connect(self, access: Access) -> Connection:
        address = make_conninfo(
            self._warehouse.url("postgresql"),
            user=access.login,
            password=access.password,
            options=sessions.options(_READING),
            application_name=f"{APPLICATION} api",
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
        )
        connection = psycopg.connect(address)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        return connection


def _is_cut_off(connection: Connection) -> bool:
    """Whether the server has ended a session that rests: it says so, and else says nothing."""
    return connection.closed or bool(select.select([connection.fileno()], [], [], 0)[0])
