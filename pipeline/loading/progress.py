"""How far a load is, told now and then while it runs: records a second, and what is left where the source says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from foundation.counting import counted
from pipeline.loading.sync import LoadResult, Progress

TOLD_EVERY_SECONDS = 30.0


def told_now_and_then(tell: Callable[[str], object], seconds: float = TOLD_EVERY_SECONDS) -> Progress:
    """A progress that tells of loads under way, of each at most once in so many seconds; from several threads."""
    last: dict[tuple[str, str], float] = {}
    lock = threading.Lock()

    def report(load: LoadResult) -> None:
        if load.status != "running":
            return
        now = time.monotonic()
        with lock:
            is_due = now - last.setdefault((load.company, load.entity), now) >= seconds
            if is_due:
                last[load.company, load.entity] = now
        if is_due:
            tell(progress_sentence(load))

    return report


def progress_sentence(load: LoadResult) -> str:
    """How far a load is, in a sentence."""
    pace = load.received / load.seconds if load.seconds > 0 else 0.0
    told = f"{load.company}: {counted(load.received, 'record')} of {load.entity} so far, {pace:,.0f} a second"
    left = 0 if load.expected is None else load.expected - load.received
    if left <= 0 or pace <= 0:
        return f"{told}."
    return f"{told}; about {left:,} are left, for {_duration(left / pace)}."


def _duration(seconds: float) -> str:
    return counted(round(seconds / 60), "minute") if seconds >= 90 else counted(max(1, round(seconds)), "second")
