"""Room on the disk that the home folder is on: what is left, what a run takes, and a stop before there is none.

A Postgres whose disk is full ends in the middle of a write. So a run begins with a look, and a thread looks on while it
goes on. The disk of a Postgres of CHURN_DATABASE_URL is its own server's to watch; there the home folder is.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from foundation.private_files import private_file
from warehouse.errors import WarehouseError
from warehouse.settings import Settings

MIB = 2**20
_LOOK_SECONDS = 0.5
_FULL = {errno.ENOSPC, errno.EDQUOT}
_WORDS = ("no space left on device", "database or disk is full", "disk quota exceeded")
_stopped_for: list[DiskAlmostFull] = []


class DiskAlmostFull(WarehouseError):
    """Too little room is left to begin, or to go on."""

    advice = (
        "Make room and run the same command again: it goes on from where it stopped. docs/runbook.md says what grows."
    )


def places(settings: Settings) -> list[Path]:
    """The folders that a run fills: the home folder, and an embedded Postgres, which may have a disk of its own."""
    return [place for place in (settings.home, settings.home / "postgres") if place.exists()]


def free_bytes(settings: Settings) -> int:
    """Bytes that are left where least are."""
    return min(shutil.disk_usage(place).free for place in places(settings) or [Path("/")])


def last_use(settings: Settings, job: str) -> int | None:
    """Bytes by which the last run of a job lessened what is free, at its worst moment; None where none is known."""
    try:
        used = json.loads(_memory(settings).read_text())[job]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return used if isinstance(used, int) else None


def in_words(settings: Settings, job: str) -> str:
    """What is left and what the job took last, in a sentence."""
    used = last_use(settings, job)
    took = "" if used is None else f"; the last `{job}` took {_size(used)}"
    return f"{_size(free_bytes(settings))} free on the disk of {settings.home}{took}"


def is_scarce(settings: Settings, job: str) -> bool:
    """Whether another run like the last one would leave less than CHURN_DISK_RESERVE_MB."""
    return free_bytes(settings) < settings.disk_reserve_mb * MIB + (last_use(settings, job) or 0)


def refuse_without_room(settings: Settings, job: str, say: Callable[[str], None]) -> None:
    """Raises DiskAlmostFull where less than the reserve is left; ``say`` is told where it may not last for the run."""
    free = free_bytes(settings)
    if free < settings.disk_reserve_mb * MIB:
        raise _almost_full(settings, free, f"`{job}` does not begin")
    if is_scarce(settings, job):
        say(f"The disk may not last for this run: {in_words(settings, job)}. It stops before the disk is full.")


@contextmanager
def watched(settings: Settings, job: str) -> Iterator[None]:
    """Look at what is left meanwhile; below the reserve this process is interrupted, and `stopped_for` says why.

    At the end of a run that was not, what it took is kept for the next one.
    """
    ended = threading.Event()
    free_before = least = free_bytes(settings)

    def look() -> None:
        nonlocal least
        while not ended.wait(_LOOK_SECONDS):
            free = free_bytes(settings)
            least = min(least, free)
            if free < settings.disk_reserve_mb * MIB:
                _stopped_for.append(_almost_full(settings, free, f"`{job}` was stopped"))
                os.kill(os.getpid(), signal.SIGINT)
                return

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
        _remember(settings, job, free_before - min(least, free_bytes(settings)))
    finally:
        ended.set()
        watcher.join()


def stopped_for() -> DiskAlmostFull | None:
    """Why this process was interrupted, where that was for want of room."""
    return _stopped_for[0] if _stopped_for else None


def full_disk(error: BaseException, settings: Settings) -> DiskAlmostFull | None:
    """The error in a sentence, where it comes of a full disk, whoever says so."""
    each: BaseException | None = error
    while each is not None:
        if _tells_of_a_full_disk(each):
            return _almost_full(settings, free_bytes(settings), "the command was cut off")
        each = each.__cause__ or each.__context__
    return None


def _tells_of_a_full_disk(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    if isinstance(error, psycopg.errors.DiskFull):
        return True
    is_of_a_database = isinstance(error, sqlite3.Error) or type(error).__module__.startswith(("sqlalchemy", "psycopg"))
    return is_of_a_database and any(words in str(error).lower() for words in _WORDS)


def _almost_full(settings: Settings, free: int, what: str) -> DiskAlmostFull:
    return DiskAlmostFull(
        f"The disk of {settings.home} is almost full: {_size(free)} are left, {settings.disk_reserve_mb} MiB must be"
        f" (CHURN_DISK_RESERVE_MB), and {what}."
    )


def _memory(settings: Settings) -> Path:
    return settings.home / "logs" / "disk_use.json"


def _remember(settings: Settings, job: str, used: int) -> None:
    path = _memory(settings)
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        kept = {}
    known = kept if isinstance(kept, dict) else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with private_file(path) as file:
        file.write(json.dumps({**known, job: max(used, 0)}).encode())


def _size(size: int) -> str:
    return f"{size / MIB:,.0f} MiB" if size < 10 * 1024 * MIB else f"{size / 1024 / MIB:,.0f} GiB"
