"""A curve never falls, goes through the published probability, and ends where the history does."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.frames import FloatArray
from ml_assets.judging.evaluate import calibration_error
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
    st.dictionaries(st.sampled_from([30, 90, 180]), st.tuples(st.floats(-3, 3), st.floats(0, 3))),
)
def test_no_curve_falls_and_each_has_the_published_probability_at_the_horizon(
    rows: list[tuple[float, float]], lines: dict[int, tuple[float, float]]
) -> None:
    log_odds, matrix = (np.array([row[place] for row in rows]) for place in (0, 1))
    curve = replace(CURVE, lines=lines).probabilities(log_odds, CURVE.shares(matrix[:, None]))
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


def passing(rows: int, dates: int, seed: int) -> tuple[FloatArray, FloatArray, FloatArray, np.ndarray]:
    """Published log-odds of 30 days that are gone with the first month, each date at a level of its own; nobody left.

    From the second month on everybody is at the same risk.
    """
    chance = np.random.default_rng(seed)
    day = chance.integers(0, dates, rows)
    log_odds = chance.normal(-2, 1.2, rows)
    first = probabilities_of(log_odds + chance.normal(0, 0.3, dates)[day])
    came = np.where(chance.random(rows) < first, chance.uniform(0, 30, rows), 30 + chance.exponential(400, rows))
    return log_odds, came, np.full(rows, 400.0), day.astype("datetime64[M]").astype("datetime64[D]")


def test_each_day_is_calibrated_where_who_is_at_risk_now_is_not_for_long() -> None:
    """By shares that know nothing of it, as those of trees that cannot see it; with lines promises are kept."""
    log_odds, came, observed, dates = passing(20_000, 12, seed=4)
    plain = HorizonCurve(30, DAYS)
    shares = np.tile([1.0, 2.0, 3.0, 6.0], (len(log_odds), 1))
    lined = plain.fitted(log_odds, shares, np.where(came < observed, came, np.nan), observed, dates)
    assert set(lined.lines) == {60, 90, 180}
    for place, day in enumerate(DAYS):
        errors = [
            calibration_error(curve.probabilities(log_odds, shares)[:, place], (came < day).astype(float))
            for curve in (plain, lined)
        ]
        assert errors[1] < 0.035, day
        assert day == 30 or errors[1] < errors[0] / 3


def test_a_day_that_few_dates_have_seen_has_no_line() -> None:
    log_odds, came, observed, dates = passing(4_000, 8, seed=5)
    observed = np.where(dates < np.sort(np.unique(dates))[4], observed, 100.0)
    shares = np.tile([1.0, 2.0, 3.0, 6.0], (len(log_odds), 1))
    told = (log_odds, shares, np.where(came < observed, came, np.nan), observed, dates)
    assert set(HorizonCurve(30, DAYS).fitted(*told).lines) == {60, 90}


def test_a_curve_of_an_older_release_has_no_lines() -> None:
    record = {name: value for name, value in CURVE.record().items() if name != "lines"}
    assert HorizonCurve.from_record(record) == CURVE


def test_a_stored_curve_says_the_same_and_is_published_whole() -> None:
    matrix, *_ = world(50, seed=3)
    lined = replace(CURVE, lines={30: (0.1, 0.9), 180: (-0.2, 0.7)})
    assert HorizonCurve.from_record(json.loads(json.dumps(lined.record()))) == lined
    again = HorizonCurve.from_record(json.loads(json.dumps(CURVE.record())))
    assert (again.shares(matrix) == CURVE.shares(matrix)).all()
    log_odds = np.linspace(-5, 2, 50)
    written = [json.loads(text) for text in write_curves(again, log_odds, again.shares(matrix))]
    assert [row["within"]["60"] for row in written] == probabilities_of(log_odds).tolist()
    assert {row["reach_days"] for row in written} == {180}
    assert set(written[0]["within"]) == {"30", "60", "90", "180"}
