"""Work that goes on after Postgres was gone for a moment: wait until it answers, a bounded time, and begin again.

For work that goes on from where it stood: loads keep their cursors, publications are all or nothing, dbt builds a
table whole or not at all.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TypeVar

import psycopg

from warehouse.connection import Warehouse
from warehouse.errors import ServerError, WarehouseUnreachable
from warehouse.one_writer import hold_again

Result = TypeVar("Result")

TRIES = 3
LONGEST_AWAY = timedelta(minutes=2)
"""How long a Postgres may be away: a restart takes seconds, a recovery a minute or so."""

_POLL_SECONDS = 1.0
_STATES = re.compile(r"08...|57P0[123]")
_WORDS = re.compile(
    r"server closed the connection|connection to server at .* failed|terminating connection"
    r"|connection (?:is|was|has been) (?:closed|lost)"
    r"|connection already closed|no connection to the server|could not receive data from server"
    r"|the database system is (?:starting up|shutting down|in recovery)",
    re.IGNORECASE,
)


def resumed(warehouse: Warehouse, work: Callable[[], Result], say: Callable[[str], None]) -> Result:
    """What ``work`` gives; where it loses Postgres it is begun again once that answers, TRIES times in all.

    ``say`` is told. Raises what ``work`` raises, and where Postgres stays away what the last try raised.
    """
    for _ in range(TRIES - 1):
        try:
            return work()
        except Exception as error:
            if not is_lost_connection(error):
                raise
            say(f"Lost the warehouse at {warehouse.place}; waiting for it, then going on: {_first_line(error)}")
            if not comes_back(warehouse, say):
                raise
    return work()


def is_lost_connection(error: BaseException) -> bool:
    """Whether the error comes of a connection to the warehouse that was cut or refused, whichever driver says so."""
    return any(isinstance(each, WarehouseUnreachable) or _says_lost(each) for each in _chain(error))


def says_lost(text: str) -> bool:
    """Whether a program's words, such as dbt's, are of a lost connection."""
    return bool(_WORDS.search(text))


def comes_back(warehouse: Warehouse, say: Callable[[str], None], longest: timedelta = LONGEST_AWAY) -> bool:
    """Whether Postgres answers within this time; an embedded one that has died is started.

    A process that was the one writer is it again. Raises WarehouseBusy where another one is now.
    """
    deadline = time.monotonic() + longest.total_seconds()
    while True:
        try:
            warehouse.revive()
            warehouse.connect().close()
            hold_again(say)
        except (ServerError, WarehouseUnreachable):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        else:
            return True


def _says_lost(error: BaseException) -> bool:
    if isinstance(error, psycopg.Error):
        state = error.sqlstate
        if state is not None:
            return bool(_STATES.fullmatch(state))
    return type(error).__module__.startswith(("psycopg", "adbc", "sqlalchemy")) and says_lost(str(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came of; `raise ... from None` ends it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
