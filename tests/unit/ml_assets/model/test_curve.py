"""A curve never falls, goes through the published probability, and ends where the history does."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.frames import FloatArray
from ml_assets.model.curve import HorizonCurve, expected_days, fit_curve, write_curves
from ml_assets.model.explain import probabilities_of

DAYS = (30, 60, 90, 180)


def world(rows: int, seed: int = 1) -> tuple[FloatArray, FloatArray, FloatArray]:
    """A feature that raises a constant hazard, the days to the outcome, and how long each row was seen."""
    chance = np.random.default_rng(seed)
    feature = chance.normal(size=rows)
    came = chance.exponential(1 / (0.004 * np.exp(feature)))
    observed = chance.uniform(40, 400, rows)
    return feature[:, None], np.where(came < observed, came, np.nan), observed


def fitted(rows: int = 3000, horizon_days: int = 60, minimum: int = 10) -> HorizonCurve:
    matrix, came, observed = world(rows)
    return fit_curve(
        *(matrix, came, observed),
        horizon_days=horizon_days,
        curve_days=DAYS,
        minimum_outcomes=minimum,
        seed=7,
        threads=1,
    )


CURVE = fitted()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-9.21, 9.21), st.floats(-4, 4)), min_size=1, max_size=30),
)
def test_no_curve_falls_and_each_has_the_published_probability_at_the_horizon(rows: list[tuple[float, float]]) -> None:
    log_odds, matrix = (np.array([row[place] for row in rows]) for place in (0, 1))
    curve = CURVE.probabilities(log_odds, CURVE.shares(matrix[:, None]))
    assert (np.diff(curve, axis=1) >= 0).all()
    assert (curve[:, CURVE.days.index(60)] == probabilities_of(log_odds)).all()
    assert ((curve > 0) & (curve < 1)).all()
    days = expected_days(CURVE.days, curve)
    assert ((days >= 0) & (days <= CURVE.days[-1])).all()


def test_the_risk_comes_as_it_did_in_the_world() -> None:
    """By a constant hazard the share of the risk is that of the days, whatever the feature."""
    matrix, *_ = world(500, seed=2)
    assert CURVE.days == DAYS
    assert CURVE.shares(matrix).mean(axis=0) == pytest.approx([0.5, 1.0, 1.5, 3.0], rel=0.12)


def test_rows_that_were_not_seen_to_the_end_of_a_step_say_nothing_of_it() -> None:
    """Nobody was seen for 180 days, so that the curve ends before, though many left within them."""
    matrix, came, _ = world(3000)
    observed = np.full(3000, 100.0)
    came = np.where(came < observed, came, np.nan)
    told = {"horizon_days": 60, "curve_days": DAYS, "minimum_outcomes": 10, "seed": 7, "threads": 1}
    assert fit_curve(matrix, came, observed, **told).days == (30, 60, 90)


def test_steps_with_few_outcomes_are_joined_and_without_any_the_horizon_stands_alone() -> None:
    matrix, came, observed = world(3000)
    early = np.where(came < 30, np.nan, came)
    told = {"curve_days": DAYS, "minimum_outcomes": 10, "seed": 7, "threads": 1}
    assert fit_curve(matrix, early, observed, horizon_days=60, **told).days == (60, 90, 180)
    never = np.full(3000, np.nan)
    alone = fit_curve(matrix, never, observed, horizon_days=60, **told)
    assert (alone, alone.days) == (HorizonCurve.flat(60), (60,))


def test_a_hand_made_curve_has_the_expected_days() -> None:
    """Half are gone by day 30: by a constant hazard 30 * 0.5 / ln 2 days remain of the first thirty."""
    assert expected_days((30,), np.array([[0.5]]))[0] == pytest.approx(30 * 0.5 / np.log(2))
    assert expected_days((30, 60), np.array([[0.0, 0.0]]))[0] == pytest.approx(60)


def test_a_stored_curve_says_the_same_and_is_published_whole() -> None:
    matrix, *_ = world(50, seed=3)
    again = HorizonCurve.from_record(json.loads(json.dumps(CURVE.record())))
    assert (again.shares(matrix) == CURVE.shares(matrix)).all()
    log_odds = np.linspace(-5, 2, 50)
    written = [json.loads(text) for text in write_curves(again, log_odds, again.shares(matrix))]
    assert [row["within"]["60"] for row in written] == probabilities_of(log_odds).tolist()
    assert {row["reach_days"] for row in written} == {180}
    assert set(written[0]["within"]) == {"30", "60", "90", "180"}
