"""How long a company's source may take: one request, one load, and all of the company's loads in a run.

A socket's own timeout counts from byte to byte, so that who sends one a second is never late. Here the time is counted
in all, and the line is cut when it is up.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.connectors.errors import SourceTooSlow
from warehouse.settings import Settings


class _HasFileNumber(Protocol):
    def fileno(self) -> int: ...


class Line:
    """The connection in use, to be cut from another thread: by a handle of its own, which TLS does not take away."""

    def __init__(self) -> None:
        self._is_cut = False
        self._lock = threading.Lock()
        self._handle: int | None = None
        self._let_go: Callable[[], object] = lambda: None

    def hold(self, connection: _HasFileNumber) -> None:
        """From here on this is the connection in use; one that has no socket cannot be cut."""
        with self._lock:
            self._let_go()
            self._handle = None
            with suppress(OSError):
                self._handle = os.dup(connection.fileno())
                self._let_go = weakref.finalize(self, os.close, self._handle)
            if self._is_cut:
                self._shut()

    def begin(self) -> None:
        """A new request may use the line."""
        with self._lock:
            self._is_cut = False

    def cut(self) -> None:
        """Whoever reads from the line is told that it has ended, and so is whoever opens one before `begin`."""
        with self._lock:
            self._is_cut = True
            self._shut()

    def close(self) -> None:
        """Let go of the connection, which stays as it is."""
        with self._lock:
            self._let_go()
            self._handle = None

    def _shut(self) -> None:
        if self._handle is not None:
            with suppress(OSError), socket.socket(fileno=os.dup(self._handle)) as handle:
                handle.shutdown(socket.SHUT_RDWR)


@dataclass
class TimeLimit:
    """The limits of one company's source, in seconds; the company's time runs from here on.

    `company` is the slug and `source` what is read, for the message.
    """

    company: str
    source: str
    request: float = 60.0
    load: float = 1800.0
    whole: float = 3600.0
    _lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._company_ends = time.monotonic() + self.whole
        self._load_ends = self._company_ends

    @classmethod
    def from_settings(cls, company: str, source: str, settings: Settings) -> TimeLimit:
        """The limits that the operator set."""
        return cls(company, source, settings.request_seconds, settings.load_seconds, settings.company_seconds)

    @property
    def seconds_left(self) -> float:
        """Until this load or the company's time is up; negative afterwards."""
        return min(self._load_ends, self._company_ends) - time.monotonic()

    def check(self) -> None:
        """Raises SourceTooSlow where the time of this load, or of the company, is up."""
        if self.seconds_left <= 0:
            raise self._too_slow()

    def holds_for(self, line: Line) -> None:
        """Have this line cut when a load's time is up."""
        self._lines.append(line)

    def sleep(self, seconds: float) -> None:
        """Pause between two tries of a request, not longer than there is time."""
        time.sleep(max(0, min(seconds, self.seconds_left)))

    @contextmanager
    def one_load(self) -> Iterator[None]:
        """A load begins, and ends with the context. Raises SourceTooSlow where the company has no time left."""
        self._load_ends = min(time.monotonic() + self.load, self._company_ends)
        self.check()
        for line in self._lines:
            line.begin()
        with _alarm(self.seconds_left, self._cut):
            yield

    @contextmanager
    def one_request(self, line: Line) -> Iterator[None]:
        """A request on this line, which is cut when time is up; however it ends then, SourceTooSlow is raised."""
        self.check()
        line.begin()
        begun = time.monotonic()
        seconds = min(self.request, self.seconds_left)
        try:
            with _alarm(seconds, line.cut):
                yield
        except Exception:
            self._refuse_late(begun, seconds)
            raise
        self._refuse_late(begun, seconds)

    def _refuse_late(self, begun: float, seconds: float) -> None:
        if time.monotonic() - begun >= seconds:
            self.check()
            raise self._error("a request", self.request, "CHURN_REQUEST_SECONDS")

    def _cut(self) -> None:
        for line in self._lines:
            line.cut()

    def _too_slow(self) -> SourceTooSlow:
        if time.monotonic() >= self._company_ends:
            return self._error("reading the company", self.whole, "CHURN_COMPANY_SECONDS")
        return self._error("this load", self.load, "CHURN_LOAD_SECONDS")

    def _error(self, what: str, seconds: float, setting: str) -> SourceTooSlow:
        return SourceTooSlow(
            self.company,
            self.source,
            f"{what} took longer than {seconds:g} s ({setting}).",
            "It is left out of this run; what had come is kept, and the next sync goes on from there.",
        )


@contextmanager
def _alarm(seconds: float, ring: Callable[[], None]) -> Iterator[None]:
    timer = threading.Timer(max(seconds, 0), ring)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
