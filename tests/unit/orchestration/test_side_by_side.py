"""Work side by side: at most so many at once, each in its time, and none held up by another."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from orchestration.side_by_side import LeftBehind, side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = timedelta(minutes=1)


@given(st.lists(st.booleans(), max_size=12), st.integers(1, 5))
def test_each_item_ends_once_with_what_its_work_gave_or_raised(fails: list[bool], at_once: int) -> None:
    def work(number: int) -> int:
        if fails[number]:
            raise ValueError(str(number))
        return number * number

    ends = dict(side_by_side(range(len(fails)), work, at_once=at_once, longest=LONG, turn=lambda _: nullcontext()))
    assert sorted(ends) == list(range(len(fails)))
    for number, end in ends.items():
        assert (str(end), type(end)) == (str(number), ValueError) if fails[number] else end == number * number


def test_as_many_as_may_work_at_once_and_no_more() -> None:
    working, most = 0, 0
    lock = threading.Lock()

    def work(_: int) -> None:
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        time.sleep(0.05)
        with lock:
            working -= 1

    list(side_by_side(range(9), work, at_once=3, longest=LONG, turn=lambda _: nullcontext()))
    assert most == 3


def test_whoever_hangs_is_left_behind_and_the_others_are_done_meanwhile() -> None:
    hung = threading.Event()

    def work(name: str) -> str:
        if name == "hangs":
            hung.wait(30)
        return name

    begun = time.monotonic()
    ends = side_by_side(
        ["hangs", "b", "c"], work, at_once=1, longest=timedelta(seconds=0.3), turn=lambda _: nullcontext()
    )
    names = dict(ends)
    assert time.monotonic() - begun < 5
    assert isinstance(names.pop("hangs"), LeftBehind)
    assert names == {"b": "b", "c": "c"}
    hung.set()


def test_time_spent_in_waiting_for_a_turn_is_not_ones_own() -> None:
    place = threading.Lock()

    @contextmanager
    def turn(_: int) -> Iterator[None]:
        with place:
            yield

    ends = side_by_side(range(4), lambda _: time.sleep(0.3), at_once=4, longest=timedelta(seconds=0.9), turn=turn)
    assert [end for _, end in ends] == [None] * 4
