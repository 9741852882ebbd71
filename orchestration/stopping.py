"""A request to stop: this process ends within seconds of it, whatever it is doing.

Python runs a signal's handler once the main thread comes back from what it calls, and a training does not for minutes.
So a thread hears of the signal too, at once, and ends the process where the orderly end takes too long. Children of
ours end by themselves then (`foundation.parent`), and an embedded Postgres by its caretaker.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from foundation.errors import ChurnError

LONGEST_SECONDS = 8.0
"""Before docker stop (10 s) and systemd (90 s) kill."""

_BY_FORCE = (
    f"\nEnded by force, {LONGEST_SECONDS:g} s after the request to stop. What was under way is undone, and what was"
    " finished stands; the same command goes on from there.\n"
)
_TO_BE_HEARD_SECONDS = 0.05
"""Threads need their turn."""
_heard: list[int] = []


class Stopped(ChurnError):
    """The process was asked to stop; `signal` says by what."""

    advice = "What was under way is undone, and what was finished stands; the same command goes on from there."

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


def request() -> int | None:
    """The signal by which this process was asked to stop, if it was."""
    return _heard[0] if _heard else None


@contextmanager
def ends_in_time(*signals: signal.Signals) -> Iterator[None]:
    """Meanwhile each of these signals ends this process within LONGEST_SECONDS, the context's end or not.

    Nothing changes in a thread that is not the main one, for which Python has no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hears, tells = socket.socketpair()
    tells.setblocking(False)
    before = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(hears, set(signals)), daemon=True).start()
    try:
        with _asked_again_where_unheard():
            yield
    finally:
        signal.set_wakeup_fd(before)
        tells.close()


def end(number: int) -> NoReturn:
    """End this process, which has closed what it opened, without Python clearing up: seconds after a large run."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(128 + number)


@contextmanager
def _asked_again_where_unheard() -> Iterator[None]:
    """A handler raises wherever the main thread is; in a destructor or a callback of C, Python drops what is raised."""
    before = sys.unraisablehook

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        number = None if issubclass(dropped.exc_type, Exception) else _signal_behind(dropped.exc_type)
        if number is None:
            before(dropped)
        else:
            # Later, and from elsewhere: what is raised in here is dropped, too.
            threading.Timer(_TO_BE_HEARD_SECONDS, os.kill, [os.getpid(), number]).start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _signal_behind(raised: type[BaseException]) -> int | None:
    """The signal whose handler raised this, if one did."""
    time.sleep(_TO_BE_HEARD_SECONDS)
    return request() or (signal.SIGINT if raised is KeyboardInterrupt else None)


def _listen(hears: socket.socket, signals: set[signal.Signals]) -> None:
    with hears:
        while heard := hears.recv(1):
            if heard[0] in signals and not _heard:
                _heard.append(heard[0])
                timer = threading.Timer(LONGEST_SECONDS, _end, [heard[0]])
                timer.daemon = True
                timer.start()


def _end(number: int) -> None:
    from warehouse.disk_space import stopped_for

    # Where it is the disk that asks, nobody else is left to say so.
    os.write(2, f"{stopped_for() or ''}{_BY_FORCE}".encode())
    os._exit(128 + number)
