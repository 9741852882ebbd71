"""The queue on disk: events in the order in which they came, and counts of what became of them."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import Iterator, List, NamedTuple, Sequence

_SCHEMA = """
create table if not exists events (
    place integer primary key autoincrement,
    body text not null,
    bytes integer not null
);
create table if not exists counts (outcome text primary key, events integer not null);
create table if not exists settings (name text primary key);
"""
_OPTED_OUT = "opted out"
_WAIT_SECONDS = 30.0


class Waiting(NamedTuple):
    """An event that is to be sent: its place in the queue, and itself as JSON."""

    place: int
    body: str


class Queue:
    """An SQLite file that is on disk with each event that it took; any thread, and any process, may use it."""

    def __init__(self, path: str, most_events: int, most_bytes: int) -> None:
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        self._connection.executescript(_SCHEMA)

    def put(self, body: str) -> bool:
        """Take an event; False where the queue is full or nothing is to be sent, which is counted."""
        with self._transaction() as database:
            size = len(body.encode())
            (events, used) = database.execute("select count(*), coalesce(sum(bytes), 0) from events").fetchone()
            if self._is_opted_out(database):
                _count(database, "discarded", 1)
                return False
            if events >= self._most_events or used + size > self._most_bytes:
                _count(database, "overflowed", 1)
                return False
            database.execute("insert into events (body, bytes) values (?, ?)", (body, size))
            return True

    def first(self, most_events: int, most_bytes: int) -> List[Waiting]:
        """What came first: at most so many events and bytes, but one in any case."""
        with self._lock:
            rows = self._connection.execute(
                "select place, body, bytes from events order by place limit ?", (most_events,)
            ).fetchall()
        batch: List[Waiting] = []
        size = 0
        for place, body, its_bytes in rows:
            size += its_bytes
            if batch and size > most_bytes:
                break
            batch.append(Waiting(place, body))
        return batch

    def settle(self, places: Sequence[int], outcome: str) -> None:
        """These need not be sent again. Those that another process has settled are not counted twice."""
        with self._transaction() as database:
            gone = sum(database.execute("delete from events where place = ?", (place,)).rowcount for place in places)
            _count(database, outcome, gone)

    def count(self, outcome: str) -> int:
        """How many events came to this end, since the file was made."""
        with self._lock:
            row = self._connection.execute("select events from counts where outcome = ?", (outcome,)).fetchone()
        return int(row[0]) if row else 0

    def __len__(self) -> int:
        with self._lock:
            return int(self._connection.execute("select count(*) from events").fetchone()[0])

    def opt_out(self) -> None:
        """Discard what waits, and take no events from now on."""
        with self._transaction() as database:
            _count(database, "discarded", database.execute("delete from events").rowcount)
            database.execute("insert or ignore into settings values (?)", (_OPTED_OUT,))

    def opt_in(self) -> None:
        """Take events again."""
        with self._transaction() as database:
            database.execute("delete from settings where name = ?", (_OPTED_OUT,))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("rollback")
                raise
            self._connection.execute("commit")

    @staticmethod
    def _is_opted_out(database: sqlite3.Connection) -> bool:
        return database.execute("select 1 from settings where name = ?", (_OPTED_OUT,)).fetchone() is not None


def _count(database: sqlite3.Connection, outcome: str, events: int) -> None:
    database.execute(
        "insert into counts values (?, ?) on conflict (outcome) do update set events = events + excluded.events",
        (outcome, events),
    )
