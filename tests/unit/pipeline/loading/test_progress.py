"""What is told of a load under way."""

from __future__ import annotations

import pytest

from pipeline.loading.progress import progress_sentence, told_now_and_then
from pipeline.loading.sync import LoadResult


@pytest.mark.parametrize(
    ("received", "seconds", "expected", "sentence"),
    [
        (25_000, 20, None, "25,000 records of payments so far, 1,250 a second."),
        (900, 1, 75_900, "900 records of payments so far, 900 a second; about 75,000 are left, for 83 seconds."),
        (1000, 100, 100_000, "1,000 records of payments so far, 10 a second; about 99,000 are left, for 165 minutes."),
        (26_000, 20, 25_000, "26,000 records of payments so far, 1,300 a second."),
        (0, 0, 10, "0 records of payments so far, 0 a second."),
    ],
)  # fmt: skip
def test_it_says_how_fast_and_what_is_left(received: int, seconds: float, expected: int | None, sentence: str) -> None:
    load = LoadResult("acme", "payments", "running", received=received, seconds=seconds, expected=expected)
    assert progress_sentence(load) == f"acme: {sentence}"


def test_a_load_is_told_of_now_and_then_and_not_at_its_end() -> None:
    told: list[str] = []
    load = LoadResult("acme", "payments", "running", received=5, seconds=1)
    rarely = told_now_and_then(told.append, seconds=3600)
    rarely(load)
    rarely(load)
    assert told == []
    always = told_now_and_then(told.append, seconds=0)
    always(load)
    always(LoadResult("acme", "payments", "succeeded", received=5, seconds=1))
    assert len(told) == 1
