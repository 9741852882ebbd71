"""Cursors: what goes in comes out, and nothing else gets through."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.api.cursors import edition_of, question_of, read_cursor, write_cursor
from serving.api.problems import Refused
from warehouse.publication.served import Place, PublishedOne

SET = PublishedOne(date(2026, 3, 1), "churn-acme v3", "own_model", 3, datetime(2026, 3, 1, 6, tzinfo=UTC), 17)
PLACES = st.builds(
    Place, st.floats(0, 1), st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1)
)


@given(PLACES)
def test_a_cursor_says_which_set_and_after_which_row(place: Place) -> None:
    question = question_of(task="churn")
    assert read_cursor(write_cursor(SET, question, place), question) == (SET.as_of_date, edition_of(SET), place)


@given(PLACES)
def test_a_cursor_of_another_question_is_refused(place: Place) -> None:
    with pytest.raises(Refused, match="another question"):
        read_cursor(write_cursor(SET, question_of(task="churn"), place), question_of(task="support"))


@given(st.text(max_size=200))
def test_whatever_is_no_cursor_is_refused_and_breaks_nothing(text: str) -> None:
    with pytest.raises(Refused):
        read_cursor(text, question_of(task="churn"))


def test_a_set_that_was_published_again_is_another_edition() -> None:
    again = PublishedOne(SET.as_of_date, SET.model_version, SET.evidence_level, 3, SET.published_at, 18)
    assert edition_of(again) != edition_of(SET)
