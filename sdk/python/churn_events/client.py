"""The client: what a program calls, and the thread that sends the queue on."""

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
import uuid
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Sequence

from churn_events.queue import Queue, Waiting
from churn_events.sending import Answer, post

logger = logging.getLogger("churn_events")

MOST_EVENT_BYTES = 32 * 1024
LONGEST_ID = 200
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
_WARN_SECONDS = 60.0


class Stats(NamedTuple):
    """What became of all events that were ever given to a queue; they add up to those that were tracked."""

    queued: int
    ok: int
    duplicate: int
    rejected: int
    overflowed: int
    discarded: int


def new_anonymous_id() -> str:
    """An id for a visitor whom nobody knows yet."""
    return str(uuid.uuid4())


class Client:
    """Takes events into a queue on disk and sends them on; README.md describes the arguments.

    Raises sqlite3.Error where the queue's file cannot be used, and ValueError for arguments that make no sense.
    """

    def __init__(
        self,
        url: str,
        write_key: str,
        queue: "str | os.PathLike[str]",
        *,
        context: Optional[Mapping[str, Any]] = None,
        flush_seconds: float = 1.0,
        batch_events: int = 100,
        batch_bytes: int = 400_000,
        most_events: int = 100_000,
        most_bytes: int = 200_000_000,
        on_rejected: Optional[Callable[[Dict[str, Any], Optional[str]], None]] = None,
    ) -> None:
        if not url.startswith(("http://", "https://")) or not write_key:
            raise ValueError("url is the collector's http address, and write_key its key")
        if flush_seconds <= 0 or not 1 <= batch_events <= 500 or not 1 <= batch_bytes <= 500_000:
            raise ValueError("flush_seconds is above 0, batch_events 1 to 500, batch_bytes 1 to 500,000")
        self._url, self._write_key, self._context = url, write_key, dict(context or {})
        self._flush_seconds, self._batch_bytes = flush_seconds, batch_bytes
        self._most_at_once = self._at_once = batch_events
        self._on_rejected = on_rejected or _log_rejected
        self._queue = Queue(os.fspath(queue), most_events, most_bytes)
        self._woken = threading.Condition()
        self._is_asked_to_flush = self._is_ending = False
        self._arrived = 0
        self._warned_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="churn-events", daemon=True)
        self._thread.start()

    def track(
        self,
        event: str,
        *,
        user_id: Optional[str] = None,
        anonymous_id: Optional[str] = None,
        properties: Optional[Mapping[str, Any]] = None,
        context: Optional[Mapping[str, Any]] = None,
        timestamp: Optional[datetime] = None,
    ) -> Optional[str]:
        """Something happened, now or at ``timestamp`` (with its zone). Returns the message id; None: not taken."""
        if not event or not (user_id or anonymous_id):
            raise ValueError("an event has a name, and user_id or anonymous_id")
        fields = {"type": "track", "event": event, "userId": user_id, "anonymousId": anonymous_id}
        return self._put(fields, {"properties": properties}, context, timestamp)

    def identify(
        self,
        user_id: str,
        *,
        anonymous_id: Optional[str] = None,
        traits: Optional[Mapping[str, Any]] = None,
        context: Optional[Mapping[str, Any]] = None,
        timestamp: Optional[datetime] = None,
    ) -> Optional[str]:
        """Somebody is this customer of the CRM; what the visitor of ``anonymous_id`` did, they did."""
        if not user_id:
            raise ValueError("user_id is missing")
        fields = {"type": "identify", "userId": user_id, "anonymousId": anonymous_id}
        return self._put(fields, {"traits": traits}, context, timestamp)

    def alias(
        self,
        user_id: str,
        *,
        previous_id: str,
        context: Optional[Mapping[str, Any]] = None,
        timestamp: Optional[datetime] = None,
    ) -> Optional[str]:
        """The customer had another id before."""
        if not user_id or not previous_id:
            raise ValueError("user_id or previous_id is missing")
        return self._put({"type": "alias", "userId": user_id, "previousId": previous_id}, {}, context, timestamp)

    def flush(self, timeout: float = 30.0) -> bool:
        """Send what waits; whether all of it was answered within so many seconds."""
        until = time.monotonic() + timeout
        while len(self._queue):
            with self._woken:
                self._is_asked_to_flush = True
                self._woken.notify_all()
            if time.monotonic() >= until or not self._thread.is_alive():
                return False
            time.sleep(0.02)
        return True

    def shutdown(self, timeout: float = 10.0) -> bool:
        """Flush, and end the thread; whether nothing is left. What is left the next client sends."""
        is_empty = self.flush(timeout)
        with self._woken:
            self._is_ending = True
            self._woken.notify_all()
        self._thread.join(timeout)
        if not self._thread.is_alive():
            self._queue.close()
        return is_empty

    def opt_out(self) -> None:
        """Discard what waits and take no events from now on, also after a restart."""
        self._queue.opt_out()

    def opt_in(self) -> None:
        """Take events again."""
        self._queue.opt_in()

    def stats(self) -> Stats:
        """Counts since the queue's file was made."""
        return Stats(len(self._queue), *(self._queue.count(outcome) for outcome in Stats._fields[1:]))

    def _put(
        self,
        fields: Dict[str, Any],
        objects: Mapping[str, Optional[Mapping[str, Any]]],
        context: Optional[Mapping[str, Any]],
        timestamp: Optional[datetime],
    ) -> Optional[str]:
        moment = timestamp or datetime.now(timezone.utc)
        if moment.tzinfo is None:
            raise ValueError("timestamp has no time zone")
        given = {name: value for name, value in fields.items() if value is not None}
        for name, value in given.items():
            if not isinstance(value, str) or len(value) > LONGEST_ID:
                raise ValueError("%s is a text of at most %d characters" % (name, LONGEST_ID))
        message_id = _message_id()
        event: Dict[str, Any] = {**given, "messageId": message_id, "originalTimestamp": moment.isoformat()}
        event.update((name, dict(value)) for name, value in objects.items() if value is not None)
        whole_context = {**self._context, **(context or {})}
        if whole_context:
            event["context"] = whole_context
        if not self._queue.put(_json(event)):
            self._warn_of_loss()
            return None
        with self._woken:
            self._arrived += 1
            if self._arrived >= self._most_at_once:
                self._woken.notify_all()
        return message_id

    def _warn_of_loss(self) -> None:
        if time.monotonic() - self._warned_at >= _WARN_SECONDS:
            self._warned_at = time.monotonic()
            overflowed = self._queue.count("overflowed")
            if overflowed:
                logger.warning("The queue is full: %d events were not taken so far.", overflowed)

    def _run(self) -> None:
        failures = 0
        while True:
            batch = self._wait_for_batch()
            if batch is None:
                return
            if not batch:
                continue
            answer = post(self._url, self._write_key, [event.body for event in batch])
            self._settle(batch, answer)
            if answer.problem is None and answer.verdicts:
                failures = 0
                self._at_once = self._most_at_once
                continue
            if answer.is_refused:
                self._narrow(batch, answer)
                continue
            failures += 1
            if failures == 1:
                logger.warning("Events wait: %s.", answer.problem or "the collector asks for them again")
            if not self._pause(_pause_seconds(failures, answer.retry_after)):
                return

    def _wait_for_batch(self) -> "Optional[Sequence[Waiting]]":
        """The next events to send; None at the end."""
        with self._woken:
            self._woken.wait_for(
                lambda: self._is_ending or self._is_asked_to_flush or self._arrived >= self._most_at_once,
                self._flush_seconds,
            )
            if self._is_ending:
                return None
            self._arrived = 0
        batch = self._queue.first(self._at_once, self._batch_bytes)
        with self._woken:
            if not batch:
                self._is_asked_to_flush = False
            elif len(batch) == self._at_once:
                self._arrived = self._most_at_once
        return batch

    def _settle(self, batch: Sequence[Waiting], answer: Answer) -> None:
        for verdict in ("ok", "duplicate", "rejected"):
            places = [batch[place].place for place, (told, _) in answer.verdicts.items() if told == verdict]
            if places:
                self._queue.settle(places, verdict)
        for place, (verdict, reason) in answer.verdicts.items():
            if verdict == "rejected":
                self._tell_rejected(batch[place], reason)

    def _narrow(self, batch: Sequence[Waiting], answer: Answer) -> None:
        """Look for the one event for which a batch is refused, by halves."""
        if len(batch) > 1:
            self._at_once = len(batch) // 2
            return
        self._queue.settle([batch[0].place], "rejected")
        self._tell_rejected(batch[0], answer.problem)
        self._at_once = self._most_at_once

    def _tell_rejected(self, event: Waiting, reason: Optional[str]) -> None:
        try:
            self._on_rejected(json.loads(event.body), reason)
        except Exception:
            logger.exception("on_rejected failed.")

    def _pause(self, seconds: float) -> bool:
        """Wait, unless the client ends meanwhile; whether it goes on."""
        with self._woken:
            return not self._woken.wait_for(lambda: self._is_ending, seconds)


def _pause_seconds(failures: int, retry_after: float) -> float:
    longest = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2.0 ** min(failures - 1, 10))
    return max(retry_after, longest * random.uniform(0.5, 1.0)) + random.uniform(0.0, 0.1 * retry_after)  # noqa: S311


def _message_id() -> str:
    """A UUID of version 7: those of later are greater, so that the warehouse's index grows at its end."""
    milliseconds = time.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10), "big")
    number = (milliseconds & (2**48 - 1)) << 80 | chance
    number = number & ~(0xF << 76) | 7 << 76
    number = number & ~(0b11 << 62) | 0b10 << 62
    return str(uuid.UUID(int=number))


def _json(event: Mapping[str, Any]) -> str:
    try:
        body = json.dumps(event, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        size = len(body.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError("the event is no JSON: %s" % (error,)) from None
    if size > MOST_EVENT_BYTES:
        raise ValueError("the event has %d bytes, and at most %d are taken" % (size, MOST_EVENT_BYTES))
    return body


def _log_rejected(event: Dict[str, Any], reason: Optional[str]) -> None:
    logger.error("The collector rejected event %s: %s.", event.get("messageId"), reason)
