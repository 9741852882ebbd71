"""One writer per warehouse: who builds, scores and publishes holds an advisory lock, and says who it is.

Two runs at once build the same tables, and each renames the other's away. The lock belongs to a Postgres session of
its own, so a killed holder loses it; that session's application_name says who holds it. Loads do not take it: each of
them holds its own company and entity. dbt that is run by hand takes it by `dbt_warehouse`.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg

from warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from warehouse.connection import Warehouse

LOCK = 7_231_003
LETS_THROUGH = "WAREHOUSE_WRITER_SESSION"
"""The environment variable by which our own dbt is let through: session, process and thread that hold the lock."""

LONGEST_WAIT = timedelta(hours=2)
NO_WAIT = timedelta()
_POLL_SECONDS = 0.5
_SECONDS_BETWEEN_WORDS = 60
_NAME = re.compile(r"writer (?P<process>\d+)@(?P<host>\S+) (?P<command>.*)")
_LONGEST_NAME = 63

_HOLDER: LiteralString = """
    select held.pid, coalesce(session.application_name, ''), session.state_change
    from pg_locks as held
    left join pg_stat_activity as session using (pid)
    where held.locktype = 'advisory' and held.granted and held.objsubid = 1
        and held.database = (select oid from pg_database where datname = current_database())
        and (held.classid::bigint << 32) + held.objid::bigint = %s
"""


class WarehouseBusy(WarehouseError):
    """Somebody else is writing in the warehouse; the message says who, where and since when."""

    advice = "Let it finish, or end that process; a command without --no-wait waits for it."


@dataclass(frozen=True)
class Writer:
    """Who holds the lock: its Postgres session, its own name and since when, as far as Postgres tells us."""

    session: int
    name: str
    since: datetime | None

    def __str__(self) -> str:
        said = _NAME.fullmatch(self.name)
        who = (
            f"`{said['command']}` (process {said['process']} on {said['host']}"
            if said
            else f"{self.name or 'somebody'} (Postgres session {self.session}"
        )
        since = f", since {self.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        return f"{who}{since})"


@contextmanager
def one_writer(
    warehouse: Warehouse, command: str, *, wait: timedelta = LONGEST_WAIT, say: Callable[[str], None] = print
) -> Iterator[None]:
    """Nobody else builds, scores or publishes in this warehouse meanwhile.

    ``command`` is what others are told. Whoever else holds the lock is waited for, and named by ``say`` at once and
    every minute; a dbt or a step of our own, which the holder started, is let through. Raises WarehouseBusy when
    ``wait`` is over.
    """
    with warehouse.connect(autocommit=True) as session:
        is_ours = is_let_through(session)
    if is_ours:
        yield
        return
    hold = _Hold(warehouse, command)
    try:
        hold.take(wait, say)
        _holds.append(hold)
        yield
    finally:
        hold.let_go()


def hold_again(say: Callable[[str], None]) -> None:
    """Take the lock once more where this process held it, and Postgres, which was gone, does not know any more.

    Raises WarehouseBusy where somebody else was quicker and writes for too long.
    """
    for hold in _holds:
        hold.renew(say)


class _Hold:
    """The lock in this process: the session that it belongs to, and the thread that took it."""

    def __init__(self, warehouse: Warehouse, command: str) -> None:
        self._warehouse = warehouse
        self._command = command
        self._thread = threading.get_ident()
        self._renewing = threading.Lock()
        self._session: psycopg.Connection[Any] | None = None

    def take(self, wait: timedelta, say: Callable[[str], None]) -> None:
        session = self._session = self._warehouse.connect(autocommit=True)
        # Its own settings, for it stays idle for hours.
        session.execute(
            "select set_config('application_name', %s, false), set_config('idle_session_timeout', '0', false)",
            [_name(self._command)],
        )
        _take(session, self._warehouse, wait, say)
        os.environ[LETS_THROUGH] = f"{session.info.backend_pid} {os.getpid()} {self._thread}"

    def renew(self, say: Callable[[str], None]) -> None:
        with self._renewing:
            if self._session is None or not _is_alive(self._session):
                self.take(LONGEST_WAIT, say)

    def let_go(self) -> None:
        if self in _holds:
            _holds.remove(self)
            os.environ.pop(LETS_THROUGH, None)
        if self._session is not None:
            self._session.close()


_holds: list[_Hold] = []


def _is_alive(session: psycopg.Connection[Any]) -> bool:
    try:
        session.execute("select 1")
    except psycopg.OperationalError:
        session.close()
        return False
    return True


def current_writer(connection: psycopg.Connection[Any]) -> Writer | None:
    """Who holds the lock now, or None."""
    row = connection.execute(_HOLDER, [LOCK]).fetchone()
    return Writer(*row) if row else None


def is_let_through(session: psycopg.Connection[Any]) -> bool:
    """Whether the holder is this thread, or started this process."""
    held_by = os.environ.get(LETS_THROUGH, "").split()
    holder = current_writer(session) if held_by else None
    if holder is None or held_by[:1] != [str(holder.session)]:
        return False
    _, process, thread = held_by
    return process != str(os.getpid()) or thread == str(threading.get_ident())


def _take(session: psycopg.Connection[Any], warehouse: Warehouse, wait: timedelta, say: Callable[[str], None]) -> None:
    begun = time.monotonic()
    next_words = begun
    while not _try(session):
        now, holder = time.monotonic(), current_writer(session)
        if holder is None:
            continue
        if now - begun >= wait.total_seconds():
            waited = f" still, after {timedelta(seconds=round(now - begun))} of waiting" if wait else ""
            raise WarehouseBusy(f"{holder} is writing in the warehouse at {warehouse.place}{waited}.")
        if now >= next_words:
            say(f"Waiting for {holder}, which is writing in the warehouse at {warehouse.place}.")
            next_words = now + _SECONDS_BETWEEN_WORDS
        time.sleep(_POLL_SECONDS)


def _try(session: psycopg.Connection[Any]) -> bool:
    row = session.execute("select pg_try_advisory_lock(%s)", [LOCK]).fetchone()
    return bool(row and row[0])


def _name(command: str) -> str:
    """As much as Postgres keeps of a name, in ASCII, for it makes question marks of all else."""
    name = f"writer {os.getpid()}@{socket.gethostname().split('.')[0][:20]} {command}"
    return name.encode("ascii", "replace").decode()[:_LONGEST_NAME]
