"""The level of a date's probabilities: against scikit-learn and scipy, and over generated years."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from ml_assets.model import level
from ml_assets.model.calibrate import AffineCalibrator, identity
from ml_assets.model.level import (
    LASTING_SD,
    UNSEEN_SEASON_SD,
    YEAR_DAYS,
    DateShift,
    Level,
    measure_level,
    needed_shift,
    predict_shift,
)

FIRST = date(2022, 1, 1)
NOISE = 0.1
"""What chance adds to the shift of a month's outcomes."""


def _months(count: int) -> list[date]:
    return [date(FIRST.year + month // 12, month % 12 + 1, 1) for month in range(count)]


def _shifts(values: np.ndarray, variance: float = NOISE**2) -> list[DateShift]:
    return [DateShift(day, float(value), variance) for day, value in zip(_months(len(values)), values, strict=True)]


@pytest.mark.parametrize("sizes", [(0.3, 180.0, 0.0, 0.0), (0.2, 45.0, 0.3, 0.0), (0.1, 720.0, 0.8, 0.5)])
def test_a_single_set_of_sizes_is_scikit_learns_gaussian_process(
    sizes: tuple[float, float, float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, ExpSineSquared, Matern

    passing, fading_days, trend, season = sizes
    values = np.random.default_rng(1).normal(0, 0.3, 30)
    variances = np.linspace(0.01, 0.1, 30)
    shifts = [replace(one, variance=float(v)) for one, v in zip(_shifts(values), variances, strict=True)]
    day = date(2024, 9, 1)
    monkeypatch.setattr(level, "_grid", lambda _: iter([level._Sizes(*sizes)]))
    ours = predict_shift(shifts, day)
    kernel = ConstantKernel(LASTING_SD**2) + ConstantKernel(passing**2) * Matern(fading_days / YEAR_DAYS, nu=0.5)
    if trend:
        kernel += ConstantKernel(trend**2) * DotProduct(1e-9)
    if season:
        kernel += ConstantKernel(season**2) * ExpSineSquared(level.SEASON_WIDTH, 1.0)
    years = np.array([(one.as_of_date - shifts[-1].as_of_date).days / YEAR_DAYS for one in shifts])
    process = GaussianProcessRegressor(kernel, alpha=variances, optimizer=None).fit(years[:, None], values)
    mean, sd = process.predict([[(day - shifts[-1].as_of_date).days / YEAR_DAYS]], return_std=True)
    assert ours.shift == pytest.approx(mean[0], abs=1e-9)
    assert ours.sd == pytest.approx(sd[0], abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    log_odds=st.lists(st.floats(-6, 6), min_size=3, max_size=40),
    share=st.floats(0, 1),
    seed=st.integers(0, 100),
)
def test_the_needed_shift_is_the_root_that_scipy_finds(log_odds: list[float], share: float, seed: int) -> None:
    margins = np.array(log_odds)
    outcomes = (np.random.default_rng(seed).random(len(margins)) < share).astype(float)
    wanted = float(np.clip(outcomes.sum(), 0.5, len(outcomes) - 0.5))
    root = brentq(lambda shift: (1 / (1 + np.exp(-(margins + shift)))).sum() - wanted, -30, 30, xtol=1e-12)
    shift, variance = needed_shift(margins, outcomes)
    probabilities = 1 / (1 + np.exp(-(margins + root)))
    assert shift == pytest.approx(root, abs=1e-6)
    assert variance == pytest.approx(1 / (probabilities * (1 - probabilities)).sum(), rel=1e-4)


WORLDS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "none": lambda months, _: np.zeros(months),
    "each date its own": lambda months, chance: chance.normal(0, 0.3, months),
    "season": lambda months, chance: 0.5 * np.sin(2 * np.pi * (np.arange(months) / 12 + chance.random())),
    "trend": lambda months, chance: 0.03 * np.arange(months) * chance.choice([-1, 1]),
    "jump": lambda months, chance: np.where(np.arange(months) >= months // 2, 0.8, 0.0) * chance.choice([-1, 1]),
    "comes and goes": lambda months, chance: np.convolve(chance.normal(0, 0.3, months + 5), np.ones(6) / 2)[5:-5],
}


def _predictions(world: str, months: int, gap: int, turns: int = 60) -> np.ndarray:
    """Per turn of a world: what the margin as it is misses, what the level misses, and the level's sd: (turns, 3).

    Shifts are measured from the level of the dates that a model learned from, as those of a training are.
    """
    chance, predictions = np.random.default_rng(months + gap), []
    for _ in range(turns):
        truth = WORLDS[world](months + gap, chance)
        truth -= truth[:months].mean()
        seen = truth[:months] + chance.normal(0, NOISE, months)
        predicted = predict_shift(_shifts(seen), _months(months + gap)[-1])
        predictions.append((truth[-1], truth[-1] - predicted.shift, predicted.sd))
    return np.array(predictions)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("months", "gap"), [(2, 1), (8, 3), (14, 1), (30, 3)])
def test_the_level_is_never_much_worse_than_the_margin_and_its_range_holds_what_comes(
    world: str, months: int, gap: int
) -> None:
    """Two dates, eight, a year's fourteen and two years' thirty: the margin's own error is that of no shift at all."""
    raw, missed, sd = _predictions(world, months, gap).T
    root_mean = [float(np.sqrt((errors**2).mean())) for errors in (missed, raw)]
    assert root_mean[0] <= 1.1 * root_mean[1] + NOISE
    assert (np.abs(missed) <= 1.96 * sd).mean() >= 0.9


def test_a_season_is_followed_from_the_second_year_on_and_before_it_only_widens_the_range() -> None:
    raw, missed, _ = _predictions("season", 36, 3).T
    assert np.abs(missed).mean() < 0.4 * np.abs(raw).mean()
    year = predict_shift(_shifts(np.zeros(11)), date(2022, 12, 1))
    two = predict_shift(_shifts(np.zeros(25)), date(2024, 2, 1))
    assert (year.is_season_seen, two.is_season_seen) == (False, True)
    assert year.sd > UNSEEN_SEASON_SD > two.sd


def test_a_year_of_dates_has_not_seen_the_season_of_a_date_before_its_first() -> None:
    assert not predict_shift(_shifts(np.zeros(13)), date(2022, 12, 1)).is_season_seen


def test_without_a_date_the_margin_is_published_as_it_is_in_a_wide_range() -> None:
    nothing = predict_shift([], date(2024, 1, 1))
    assert (nothing.shift, nothing.dates, nothing.is_season_seen) == (0.0, 0, False)
    assert nothing.sd > LASTING_SD


def _level(values: np.ndarray, horizon_days: int = 30) -> Level:
    return Level(tuple(_shifts(values)), horizon_days, intercept=0.2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), months=st.integers(1, 20), horizon_days=st.sampled_from([14, 30, 90]))
def test_a_date_is_levelled_by_what_was_known_on_it_alone(seed: int, months: int, horizon_days: int) -> None:
    values = np.random.default_rng(seed).normal(0, 0.5, 20)
    day = _months(21)[months]
    later = np.array([one + timedelta(days=horizon_days) > day for one in _months(20)])
    other = np.where(later, values + 9, values)
    assert _level(values, horizon_days).at(day) == _level(other, horizon_days).at(day)


def test_a_level_holds_for_a_month() -> None:
    one = _level(np.linspace(0, 0.5, 12))
    assert one.at(date(2023, 3, 2)) == one.at(date(2023, 3, 31))
    assert one.at(date(2023, 3, 2)).shift != one.at(date(2023, 4, 1)).shift


def test_a_level_that_is_not_applied_shifts_nothing_and_keeps_its_range() -> None:
    applied = _level(np.full(12, 0.4))
    left = replace(applied, is_applied=False).at(date(2023, 3, 1))
    assert left.shift == 0
    assert left.sd == pytest.approx(np.hypot(applied.at(date(2023, 3, 1)).sd, applied.at(date(2023, 3, 1)).shift))


def test_a_stored_level_is_read_back_as_it_was() -> None:
    one = replace(_level(np.linspace(-0.1, 0.3, 7)), is_applied=False)
    assert Level.from_record(one.to_record()) == one


def _rows(rates: list[float], rows: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    chance = np.random.default_rng(3)
    dates = np.repeat(np.array(_months(len(rates)), dtype="datetime64[D]"), rows)
    margins = chance.normal(-2, 1, len(dates))
    outcomes = (chance.random(len(dates)) < np.repeat(rates, rows)).astype(float)
    return margins, outcomes, dates


def test_at_its_own_shift_a_dates_mean_probability_is_the_share_that_came_true() -> None:
    margins, outcomes, dates = _rows([0.1, 0.2, 0.3])
    line = AffineCalibrator(0.8, 0.1, "made up")
    measured = measure_level(margins, outcomes, dates, line, 30)
    for one in measured.shifts:
        there = dates == np.datetime64(one.as_of_date)
        probabilities = 1 / (1 + np.exp(-(line.log_odds(margins[there]) + one.shift)))
        assert probabilities.mean() == pytest.approx(outcomes[there].mean(), abs=1e-9)
    assert measured.intercept == line.intercept


@pytest.mark.parametrize(("rates", "dates"), [([0.0, 0.0, 0.1, 0.0, 0.1], 3), ([0.0, 0.0], 0)])
def test_dates_before_the_first_outcome_say_nothing_of_the_level(rates: list[Any], dates: int) -> None:
    assert len(measure_level(*_rows(rates), identity(), 30).shifts) == dates
