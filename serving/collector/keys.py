"""Who may send what: write keys, looked up and remembered for some seconds, their origins and their pace."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import psycopg

from foundation.errors import ChurnError
from foundation.keys import digest, prefix_of
from serving.collector.limits import BATCH_EVENTS, KEY_SECONDS, KEYS_KEPT, UNKNOWN_KEYS_PER_SECOND
from serving.collector.refusals import Refusal, away
from serving.collector.token_bucket import TokenBucket
from warehouse.companies.write_keys import ANY_ORIGIN, KeyRights, find_write_key, read_origins
from warehouse.connection import Warehouse
from warehouse.roles import Role

Answer = TypeVar("Answer")

_UNKNOWN = "There is no such write key: `churn write-key list` shows those there are, by their beginning."
_LONGEST_KEY = 200


class _Remembered:
    def __init__(self, rights: KeyRights | None, looked_up_at: float) -> None:
        self.rights = rights
        self.looked_up_at = looked_up_at


class Keys:
    """The keys that were used lately, each with its pace; one connection looks up the others."""

    def __init__(self, warehouse: Warehouse, clock: Callable[[], float] = time.monotonic) -> None:
        self._lookup = _Lookup(warehouse)
        self._clock = clock
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()
        self._paces: dict[str, TokenBucket] = {}
        self._unknown = TokenBucket(UNKNOWN_KEYS_PER_SECOND, UNKNOWN_KEYS_PER_SECOND, clock())
        self._origins: tuple[frozenset[str], float] = (frozenset(), -KEY_SECONDS)

    async def rights(self, text: str | None, origin: str | None) -> KeyRights:
        """What the key with this text allows a page of this origin, or (None) a program. Raises Refusal."""
        if not text:
            raise Refusal(
                401,
                "A write key is missing: `Authorization: Bearer KEY`, Basic with it as the user, or "
                "writeKey in the body.",
            )
        if len(text) > _LONGEST_KEY or not text.isascii():
            raise Refusal(401, _UNKNOWN)
        rights = await self._find(prefix_of(text))
        if rights is None or not hmac.compare_digest(rights.digest, digest(text)):
            raise Refusal(401, _UNKNOWN)
        if origin is not None and not rights.allows_origin(origin):
            raise Refusal(403, "This key may not be used from pages of this origin.")
        return rights

    def keep_pace(self, prefix: str, rights: KeyRights, events: int) -> None:
        """Raises Refusal where a key sends more events than it may."""
        pace = self._paces.get(prefix)
        if pace is None or pace.per_second != rights.events_per_second:
            burst = max(rights.events_per_second, BATCH_EVENTS)
            pace = self._paces[prefix] = TokenBucket(rights.events_per_second, burst, self._clock())
        wait = pace.take(events, self._clock())
        if wait:
            raise Refusal(429, f"This key takes {rights.events_per_second} events a second.", wait)

    async def allows_preflight(self, origin: str) -> bool:
        """Whether any key may be used from pages of this origin: a preflight does not say by which key."""
        known, looked_up_at = self._origins
        if self._clock() - looked_up_at >= KEY_SECONDS:
            known = await self._lookup.ask(read_origins)
            self._origins = known, self._clock()
        return origin in known or ANY_ORIGIN in known

    def close(self) -> None:
        """Close the connection."""
        self._lookup.close()

    async def _find(self, prefix: str) -> KeyRights | None:
        now = self._clock()
        remembered = self._remembered.get(prefix)
        if remembered is not None and now - remembered.looked_up_at < KEY_SECONDS:
            return remembered.rights
        if remembered is None or remembered.rights is None:
            wait = self._unknown.take(1, now)
            if wait:
                raise Refusal(429, "Too many keys that nobody has used lately are being tried.", wait)
        rights = await self._lookup.ask(lambda connection: find_write_key(connection, prefix))
        self._remembered[prefix] = _Remembered(rights, now)
        self._remembered.move_to_end(prefix)
        while len(self._remembered) > KEYS_KEPT:
            forgotten, _ = self._remembered.popitem(last=False)
            self._paces.pop(forgotten, None)
        return rights


class _Lookup:
    """A connection of the collector's role for questions, opened when it is asked, and again when it broke."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._connection: psycopg.Connection[Any] | None = None
        self._lock = threading.Lock()

    async def ask(self, question: Callable[[psycopg.Connection[Any]], Answer]) -> Answer:
        """The answer, from a thread. Raises Refusal where the warehouse is away."""
        return await asyncio.to_thread(self._ask, question)

    def _ask(self, question: Callable[[psycopg.Connection[Any]], Answer]) -> Answer:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._warehouse.connect(Role.collector, autocommit=True)
                return question(self._connection)
            except (psycopg.Error, ChurnError):
                self._close()
                raise away() from None

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def key_in_headers(headers: Mapping[str, str]) -> str | None:
    """The write key that a request's Authorization names, as Bearer or as the user of Basic. Raises Refusal."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(given.strip(), validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            raise Refusal(401, "Basic authorization is base64 of KEY and a colon.") from None
    return None
