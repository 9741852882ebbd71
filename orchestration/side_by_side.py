"""Work on several things side by side, in threads, each within its time: who takes longer is left behind."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Generic, TypeVar

from foundation.errors import ChurnError

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK_SECONDS = 0.5


class LeftBehind(ChurnError):
    """Somebody's work did not end in its time, and is not waited for."""

    advice = "It is left out of this run; CHURN_COMPANY_SECONDS says how long a company may take."


def side_by_side(
    items: Sequence[Item],
    work: Callable[[Item], Result],
    *,
    at_once: int,
    longest: timedelta,
    turn: Callable[[Item], AbstractContextManager[None]],
) -> Iterator[tuple[Item, Result | Exception]]:
    """Each item with what ``work`` gave or raised, in the order in which they end; LeftBehind past ``longest``.

    ``at_once`` are worked on at a time. ``turn`` is entered before an item's time begins, as to wait for a place. A
    thread cannot be ended: one that is left behind goes on, in vain, until it ends or the process does.
    """
    return _Threads(items, work, at_once, longest, turn).ends()


class _Threads(Generic[Item, Result]):
    def __init__(
        self,
        items: Sequence[Item],
        work: Callable[[Item], Result],
        at_once: int,
        longest: timedelta,
        turn: Callable[[Item], AbstractContextManager[None]],
    ) -> None:
        self._items = items
        self._work = work
        self._at_once = at_once
        self._longest = longest
        self._turn = turn
        self._waiting = queue.SimpleQueue[int]()
        self._ended = queue.SimpleQueue[tuple[int, Result | Exception]]()
        self._begun: dict[int, float] = {}
        self._left_behind: set[int] = set()

    def ends(self) -> Iterator[tuple[Item, Result | Exception]]:
        expected = set(range(len(self._items)))
        for number in expected:
            self._waiting.put(number)
        for _ in range(min(self._at_once, len(expected))):
            self._start()
        while expected:
            for number, end in self._look():
                if number in expected:
                    expected.discard(number)
                    yield self._items[number], end

    def _look(self) -> Iterator[tuple[int, Result | Exception]]:
        try:
            yield self._ended.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            late = time.monotonic() - self._longest.total_seconds()
            for number in [number for number, begun in list(self._begun.items()) if begun < late]:
                self._begun.pop(number, None)
                self._left_behind.add(number)
                self._start()
                yield number, LeftBehind(f"it took longer than {self._longest.total_seconds():g} s")

    def _start(self) -> None:
        threading.Thread(target=self._work_off, daemon=True).start()

    def _work_off(self) -> None:
        while True:
            try:
                number = self._waiting.get_nowait()
            except queue.Empty:
                return
            end = self._worked(number)
            self._begun.pop(number, None)
            self._ended.put((number, end))
            if number in self._left_behind:
                # Another thread took its place.
                return

    def _worked(self, number: int) -> Result | Exception:
        item = self._items[number]
        try:
            with self._turn(item):
                self._begun[number] = time.monotonic()
                return self._work(item)
        except Exception as error:  # noqa: BLE001 - whoever asked for the work gets it
            return error
