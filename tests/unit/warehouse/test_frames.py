"""Reading ahead: what comes next is made while the last is worked on."""

from collections.abc import Iterator
from threading import Event

import pytest

from warehouse.frames import ahead


def test_the_next_item_is_made_while_the_last_is_worked_on_and_no_more_than_that() -> None:
    made = [Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    coming = ahead(items())
    assert next(coming) == 0
    assert made[1].wait(10)
    assert not made[2].is_set()
    assert list(coming) == [1, 2]


def test_what_fails_ahead_is_raised_in_its_turn() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken off")

    coming = ahead(items())
    assert next(coming) == 1
    with pytest.raises(ValueError, match="broken off"):
        next(coming)
