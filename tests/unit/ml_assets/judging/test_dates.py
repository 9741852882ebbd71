"""Promised and kept by date: one month cannot condemn a model, nor praise it."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from ml_assets.judging.dates import (
    FEWEST_DATES,
    JudgedDate,
    calibration_over_dates,
    is_worse_than_raw,
    judge_dates,
)
from ml_assets.judging.evaluate import calibration_error
from ml_assets.model.calibrate import AffineCalibrator, identity
from ml_assets.model.level import DateShift, Level

MONTHS = tuple(date(2025, month, 1) for month in range(1, 11))


def _world(shifts: list[float], rows: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Margins, outcomes and dates of as many months as there are shifts of the true log odds."""
    chance = np.random.default_rng(2)
    dates = np.repeat(np.array(MONTHS[: len(shifts)], dtype="datetime64[D]"), rows)
    margins = chance.normal(-1, 1, len(dates))
    outcomes = chance.random(len(dates)) < 1 / (1 + np.exp(-margins - np.repeat(shifts, rows)))
    return margins, outcomes.astype(float), dates


def _judged(shifts: list[float], line: AffineCalibrator) -> list[JudgedDate]:
    nothing_known = Level((), 30, line.intercept)
    return list(judge_dates(*_world(shifts), line, nothing_known))


def test_each_date_is_judged_by_the_level_that_was_known_on_it() -> None:
    margins, outcomes, dates = _world([0.0, 1.5])
    level = Level((DateShift(date(2024, 11, 1), 0.5, 1e-4), DateShift(MONTHS[0], 9.0, 1e-4)), 45, 0.0)
    first, second = judge_dates(margins, outcomes, dates, identity(), level)
    later = 1 / (1 + np.exp(-(margins[dates == dates[-1]] + level.at(MONTHS[1]).shift)))
    assert second.promised == pytest.approx(later.mean())
    by_hand = 1 / (1 + np.exp(-(margins[dates == dates[0]] + level.at(MONTHS[0]).shift)))
    assert first.promised == pytest.approx(by_hand.mean())
    assert first.calibration_error == pytest.approx(calibration_error(by_hand, outcomes[dates == dates[0]]))
    assert first.promised_low < first.promised < first.promised_high
    assert (first.as_of_date, first.rows, first.outcomes) == (MONTHS[0], 2000, int(outcomes[:2000].sum()))
    assert first.describe()["as_of_date"] == "2025-01-01"


def test_a_date_whose_need_lies_in_the_levels_range_is_in_range_and_one_far_off_is_not() -> None:
    near, far = (_judged([shift], identity())[0] for shift in (0.3, 3.0))
    assert (near.is_in_range, far.is_in_range) == (True, False)


def test_a_line_that_is_worse_at_every_date_gives_way_and_one_that_is_worse_at_one_month_does_not() -> None:
    wrong = AffineCalibrator(0.6, 0.8, "of one month")
    assert is_worse_than_raw(_judged([0.0] * 6, wrong))
    assert not is_worse_than_raw(_judged([0.0] * 6, identity()))
    # Of three such months on which the raw margin is right by a season's chance, ten others say otherwise.
    assert not is_worse_than_raw(_judged([0.0] + [1.0] * 9, AffineCalibrator(1.0, 1.0, "of ten months")))


def test_fewer_than_three_dates_condemn_nobody_however_many_customers_they_hold() -> None:
    judged = _judged([0.0] * (FEWEST_DATES - 1), AffineCalibrator(0.6, 0.8, "of one month"))
    assert all(day.brier > day.raw_brier for day in judged)
    assert not is_worse_than_raw(judged)


def test_a_calibration_error_is_told_over_dates_and_never_of_one() -> None:
    one = _judged([0.0], identity())[0]
    assert calibration_over_dates([one])["calibration_error_by_date"] is None
    assert calibration_over_dates([])["judged_dates"] == 0
    other = replace(one, calibration_error=one.calibration_error + 0.2)
    told = calibration_over_dates([one, other])
    assert told["calibration_error_by_date"] == pytest.approx(one.calibration_error + 0.1)
    assert (told["calibration_error_by_date_low"], told["calibration_error_by_date_high"]) == (
        one.calibration_error,
        other.calibration_error,
    )
