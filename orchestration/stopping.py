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
        yield
    finally:
        signal.set_wakeup_fd(before)
        tells.close()


def end(number: int) -> NoReturn:
    """End this process, which has closed what it opened, without Python clearing up: seconds after a large run."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(128 + number)


def _listen(hears: socket.socket, signals: set[signal.Signals]) -> None:
    with hears:
        while heard := hears.recv(1):
            if heard[0] in signals:
                _heard.append(heard[0])
                timer = threading.Timer(LONGEST_SECONDS, _end, [heard[0]])
                timer.daemon = True
                timer.start()
                return


def _end(number: int) -> None:
    from warehouse.disk_space import stopped_for

    # Where it is the disk that asks, nobody else is left to say so.
    os.write(2, f"{stopped_for() or ''}{_BY_FORCE}".encode())
    os._exit(128 + number)
