"""A noun follows its number."""

from __future__ import annotations

import pytest

from foundation.counting import agreeing, counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "customer", "0 customers"),
        (1, "customer", "1 customer"),
        (2, "company", "2 companies"),
        (1, "company", "1 company"),
        (3, "day", "3 days"),
        (12_000, "record", "12,000 records"),
        (2, "match", "2 matches"),
        (2, "loss", "2 losses"),
    ],
)
def test_a_noun_follows_its_number(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text


@pytest.mark.parametrize(
    ("verb", "after_one"), [("stand", "stands"), ("are", "is"), ("have", "has"), ("were", "was"), ("do", "does")]
)
def test_a_verb_follows_its_number(verb: str, after_one: str) -> None:
    assert agreeing(1, verb) == after_one
    assert [agreeing(number, verb) for number in (0, 2)] == [verb, verb]
