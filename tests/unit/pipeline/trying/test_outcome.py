"""What the outcome's values mean: understood where the words say it, asked where they do not, never guessed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.trying.errors import TrialError, UnclearOutcome, UnknownColumn
from pipeline.trying.outcome import Outcome, read_outcome
from pipeline.trying.values import Notations, read_columns


def outcome(values: list[object], *chosen: str, name: str = "Churn") -> Outcome:
    return read_outcome(read_columns(pa.table({name: values}), Notations())[name], chosen)


@pytest.mark.parametrize(
    "values",
    [
        ["yes", "no"],
        ["TRUE", "FALSE"],
        [True, False],
        [1, 0],
        [1.0, 0.0],
        ["1", "0"],
        ["Churn", "No"],
        ["Left", "Stayed"],
        ["Attrited Customer", "Existing Customer"],
        ["churned", "anything else"],
    ],
)
def test_the_usual_words_are_understood(values: list[object]) -> None:
    assert outcome(values).known.tolist() == [1.0, 0.0]


def test_an_empty_outcome_is_not_known() -> None:
    known = outcome(["yes", "", "no", None]).known

    assert np.isnan(known).tolist() == [False, True, False, True]


def test_several_values_ask_for_one() -> None:
    with pytest.raises(UnclearOutcome, match=r'"Stayed" \(2\), "Churned" \(1\), "Joined" \(1\).*--value'):
        outcome(["Stayed", "Stayed", "Churned", "Joined"])
    assert outcome(["Stayed", "Churned", "Joined"], "churned").known.tolist() == [0.0, 1.0, 0.0]
    assert outcome(["Stayed", "Churned", "Lost"], "Churned", "Lost").known.tolist() == [0.0, 1.0, 1.0]


def test_two_words_that_nobody_knows_are_asked_about() -> None:
    with pytest.raises(UnclearOutcome, match="--value"):
        outcome(["A", "B"])


@pytest.mark.parametrize("name", ["retained", "is_active", "Renewed", "still_subscribed"])
def test_yes_in_a_column_of_staying_is_not_taken_for_leaving(name: str) -> None:
    with pytest.raises(UnclearOutcome, match="--value"):
        outcome(["Yes", "No"], name=name)
    assert outcome(["Yes", "No"], "no", name=name).known.tolist() == [0.0, 1.0]


def test_yes_in_a_column_of_being_inactive_is_leaving() -> None:
    assert outcome(["Yes", "No"], name="inactive").known.tolist() == [1.0, 0.0]


def test_a_value_that_is_not_there_gets_the_near_ones() -> None:
    with pytest.raises(UnknownColumn, match="near it: Churned"):
        outcome(["Stayed", "Churned", "Joined"], "Churn")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["no", "no"], "nobody has the outcome"),
        (["yes", "yes"], "everybody has the outcome"),
        (["1", "", ""], "write no into it"),
        (["", None], "is empty in all 2 rows"),
        ([f"2024-01-{day:02d}" for day in range(1, 29)], "28 different dates"),
    ],
)
def test_an_outcome_that_tells_nothing_apart_says_why(values: list[object], told: str) -> None:
    with pytest.raises(TrialError, match=told):
        outcome(values)
