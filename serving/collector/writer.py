"""The writer: one thread and one connection that commit what arrived within some milliseconds together.

What waits is bounded, in bytes and in events. Whoever submitted is answered after the commit, or told to come again;
what was told so may have been committed all the same, and is a duplicate then.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from foundation.errors import ChurnError
from serving.collector.figures import Figures
from serving.collector.limits import GROUP_EVENTS, GROUP_SECONDS, WAITING_BYTES, WAITING_EVENTS
from serving.collector.refusals import away, behind
from warehouse.connection import Warehouse
from warehouse.disk_space import MIB, free_bytes
from warehouse.landing.records import RejectedRecord
from warehouse.landing.tracked import Arrival, Landed, TrackedEvent, land, prepare
from warehouse.roles import Role
from warehouse.settings import Settings

logger = logging.getLogger(__name__)

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_ROOM_SECONDS = 5.0
_IDLE_SECONDS = 2.0
_TIMEOUTS = "set lock_timeout = '5s'; set statement_timeout = '30s'"


@dataclass(frozen=True)
class _Submission:
    arrivals: Sequence[Arrival]
    size: int
    answer: asyncio.Future[list[Landed]]


class Writer:
    """Commits arrivals in groups. Made, started and closed on the event loop that submits."""

    def __init__(self, warehouse: Warehouse, settings: Settings, figures: Figures) -> None:
        self._warehouse = warehouse
        self._settings = settings
        self._figures = figures
        self._name = secrets.token_hex(8)
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._queue: deque[_Submission] = deque()
        self._bytes = self._events = 0
        self._is_closing = self._is_ready = False
        self._room_looked_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self) -> None:
        """Begin to commit; until the warehouse answered the writer is not ready."""
        self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether the warehouse takes events."""
        return self._is_ready and not self._is_closing

    @property
    def waiting_events(self) -> int:
        """Events that are not committed yet."""
        return self._events

    async def submit(self, arrivals: Sequence[Arrival], size: int) -> list[Landed]:
        """What became of each arrival, after its commit. ``size`` is their bytes. Raises Refusal; nobody waits then."""
        answer: asyncio.Future[list[Landed]] = self._loop.create_future()
        with self._changed:
            if not self.is_ready:
                raise away()
            if self._bytes + size > WAITING_BYTES or self._events + len(arrivals) > WAITING_EVENTS:
                raise behind()
            self._queue.append(_Submission(arrivals, size, answer))
            self._bytes += size
            self._events += len(arrivals)
            self._changed.notify()
        return await answer

    def close(self) -> None:
        """Commit what waits, and end."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            try:
                with self._connect() as connection:
                    pause = _SHORTEST_PAUSE
                    self._commit_groups(connection)
                    return
            except Exception as error:  # noqa: BLE001 - whatever it was, the collector goes on
                self._is_ready = False
                # The message may quote an event: the kind of error is told, and no more.
                logger.warning("No events are taken: %s. Trying again.", type(error).__name__)
                self._refuse_all()
            with self._changed:
                if self._changed.wait_for(lambda: self._is_closing, timeout=pause):
                    return
            pause = min(_LONGEST_PAUSE, pause * 2)
            self._revive()

    def _connect(self) -> psycopg.Connection[Any]:
        self._look_for_room()
        connection = self._warehouse.connect(Role.collector)
        try:
            connection.execute(_TIMEOUTS)
            prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._is_ready = True
        logger.info("Events are taken.")
        return connection

    def _revive(self) -> None:
        try:
            self._warehouse.revive()
        except ChurnError as error:
            logger.warning("The embedded Postgres does not start: %s.", type(error).__name__)

    def _look_for_room(self) -> None:
        """Raises OSError where less is left on the disk than must stay free."""
        if time.monotonic() - self._room_looked_at < _ROOM_SECONDS:
            return
        if free_bytes(self._settings) < self._settings.disk_reserve_mb * MIB:
            raise OSError("less room than CHURN_DISK_RESERVE_MB")
        self._room_looked_at = time.monotonic()

    def _commit_groups(self, connection: psycopg.Connection[Any]) -> None:
        """Until the writer closes and nothing waits."""
        while not (self._is_closing and not self._queue):
            group = self._next_group()
            if not group:
                # Nobody sends, and the warehouse may have gone meanwhile.
                connection.execute("select 1")
                connection.commit()
                continue
            arrivals = [arrival for submission in group for arrival in submission.arrivals]
            begun = time.monotonic()
            try:
                self._look_for_room()
                landed = _land(connection, self._name, arrivals)
            except BaseException:
                self._figures.failed_commits.inc()
                self._answer(group, None)
                raise
            self._figures.commit_seconds.observe(time.monotonic() - begun)
            self._answer(group, landed)

    def _next_group(self) -> list[_Submission]:
        """What waits, at most so many events; empty where nothing came for a while."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closing, _IDLE_SECONDS)
            if self._queue and not self._is_closing:
                self._changed.wait_for(lambda: self._events >= GROUP_EVENTS or self._is_closing, GROUP_SECONDS)
            group: list[_Submission] = []
            events = 0
            while self._queue and (not group or events + len(self._queue[0].arrivals) <= GROUP_EVENTS):
                submission = self._queue.popleft()
                if submission.answer.cancelled():
                    self._give_back([submission])
                    continue
                group.append(submission)
                events += len(submission.arrivals)
        return group

    def _give_back(self, group: Sequence[_Submission]) -> None:
        self._bytes -= sum(submission.size for submission in group)
        self._events -= sum(len(submission.arrivals) for submission in group)

    def _refuse_all(self) -> None:
        with self._changed:
            waiting = list(self._queue)
            self._queue.clear()
        self._answer(waiting, None)

    def _answer(self, group: Sequence[_Submission], landed: list[Landed] | None) -> None:
        with self._changed:
            self._give_back(group)
        self._loop.call_soon_threadsafe(_resolve, group, landed)


def _resolve(group: Sequence[_Submission], landed: list[Landed] | None) -> None:
    """Answer everybody of a group; None: nobody knows whether it was committed."""
    place = 0
    for submission in group:
        end = place + len(submission.arrivals)
        if not submission.answer.done():
            if landed is None:
                submission.answer.set_exception(away())
            else:
                submission.answer.set_result(landed[place:end])
        place = end


def _land(connection: psycopg.Connection[Any], name: str, arrivals: Sequence[Arrival]) -> list[Landed]:
    """Land them; one that Postgres refuses for what it says is found by halving, and rejected."""
    try:
        return land(connection, name, arrivals)
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError) as error:
        if len(arrivals) > 1:
            middle = len(arrivals) // 2
            return _land(connection, name, arrivals[:middle]) + _land(connection, name, arrivals[middle:])
        event = arrivals[0].event
        if not isinstance(event, TrackedEvent):
            raise
        reason = f"Postgres does not take it ({type(error).__name__})"
        said = {"properties": event.properties, "context": event.context}
        refused = RejectedRecord(event.message_id, reason, json.dumps(said))
        return land(connection, name, [arrivals[0]._replace(event=refused)])
