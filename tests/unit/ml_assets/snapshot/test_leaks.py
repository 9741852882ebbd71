"""Columns that come of the outcome are found, whichever way they give it away; honest ones are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.snapshot.cross_validation import grouped_folds
from ml_assets.snapshot.leaks import Suspicion, find_leaks, tells_alone
from ml_assets.task import Feature, FeatureKind

ROWS = 2_000


def suspicions(values: Any, outcomes: np.ndarray, *, kind: FeatureKind = "number", label: str = "x") -> list[Suspicion]:
    feature = Feature("c0", label, "", "columns", kind)
    folds = grouped_folds(outcomes, np.arange(len(outcomes)), 5)
    return find_leaks(
        pd.DataFrame({"c0": values}),
        [feature],
        outcomes,
        folds,
        outcome_name="Churn Label",
        happened="Churn is Yes",
        otherwise="Churn is not Yes",
    )


def left(seed: int = 0, share: float = 0.25) -> np.ndarray:
    return (np.random.default_rng(seed).random(ROWS) < share).astype(np.float64)


def noise(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random(ROWS)


def leaking_columns() -> dict[str, tuple[Any, FeatureKind, str, str]]:
    outcomes, random = left(), noise()
    only_some = (outcomes == 1) & (random < 0.3)
    return {
        "a code of the outcome": (np.where(outcomes == 1, "out", "in"), "category", "state", "code"),
        "a score made of it": (outcomes + 1.3 * noise(2), "number", "score", "alone"),
        "a date of leaving": (np.where(outcomes == 1, 100 * random, np.nan), "number", "left_days", "filled"),
        "a refund to some who left": (np.where(only_some, 5.0, np.nan), "number", "refund", "filled"),
        "a refund of zero to others": (np.where(only_some, 5.0 + random, 0.0), "number", "refund", "value"),
        "a next bill for who stayed": (np.where(outcomes == 1, np.nan, random), "number", "next_bill", "filled"),
        "a status for some who left": (np.where(only_some, "closed", "open"), "category", "status", "value"),
        "a survey mostly of who left": (
            np.where(random < 0.1 + 0.6 * outcomes, 1.0, np.nan),
            "number",
            "survey",
            "missing",
        ),
        "a number named like it": (outcomes + 4 * noise(2), "number", "churn risk", "name"),
    }


@pytest.mark.parametrize("case", leaking_columns())
def test_a_column_that_gives_the_outcome_away_is_named_with_its_reason(case: str) -> None:
    values, kind, label, wanted = leaking_columns()[case]

    found = suspicions(values, left(), kind=kind, label=label)

    assert [(each.feature.label, each.kind) for each in found] == [(label, wanted)], found


def test_a_column_that_says_as_much_without_the_outcomes_name_is_honest() -> None:
    assert not suspicions(left() + 4 * noise(2), left(), label="days since login")


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    share=st.sampled_from([0.01, 0.05, 0.2, 0.5, 0.9]),
    kind=st.sampled_from(["number", "rounded", "category", "half empty"]),
)
def test_a_column_that_knows_nothing_of_the_outcome_is_never_suspected(seed: int, share: float, kind: str) -> None:
    outcomes, random = left(seed, share), noise(seed + 1)
    values: Any = {
        "number": random,
        "rounded": (random * 4).round(),
        "category": np.array(["a", "b", "c", "d", "e"])[(random * 5).astype(int)],
        "half empty": np.where(random < 0.5, np.nan, random),
    }[kind]

    assert not suspicions(values, outcomes, kind="category" if kind == "category" else "number")


def test_a_column_that_is_far_ahead_of_all_others_is_suspected_and_one_among_equals_is_not() -> None:
    outcomes = left()
    folds = grouped_folds(outcomes, np.arange(ROWS), 5)

    def suspected(second: np.ndarray) -> list[str]:
        features = [
            Feature("c0", "call length", "", "columns", "number"),
            Feature("c1", "fee", "", "columns", "number"),
        ]
        frame = pd.DataFrame({"c0": outcomes + 2.8 * noise(2), "c1": second})
        found = find_leaks(
            frame, features, outcomes, folds, outcome_name="y", happened="y is yes", otherwise="y is not yes"
        )
        return [each.feature.label for each in found]

    assert suspected(noise(3)) == ["call length"]
    assert suspected(outcomes + 3.2 * noise(4)) == []


def test_what_a_column_tells_by_itself_is_counted_on_other_rows() -> None:
    outcomes = left()
    feature = Feature("c0", "id", "", "columns", "category")
    frame = pd.DataFrame({"c0": [f"id {number % 50}" for number in range(ROWS)]})
    folds = grouped_folds(outcomes, np.arange(ROWS), 5)

    (alone,) = tells_alone(frame, [feature], outcomes, folds)

    assert alone == pytest.approx(0.5, abs=0.05)
