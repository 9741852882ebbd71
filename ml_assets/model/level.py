"""The level of the probabilities of a date: how many have the outcome, apart from who.

Each mature date has a shift, the one that its margins need for their mean to be the share that came true. The shift of
a date to come is predicted from those of all dates that were known by then: a Gaussian process over time (Rasmussen &
Williams 2006, chapter 2) with a lasting level, a trend, a year's season and what comes and goes. How large each of
them is, and how fast the last one fades, is not known from a dozen dates, so that a grid of possible sizes is averaged
by how likely the shifts are under each. With few dates that shrinks the shift towards none, the margin as it is, and
leaves the range wide.

The order of the entities belongs in the estimators, the slope of the margins in `calibrate.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import product
from typing import Any

import numpy as np

from ml_assets.frames import DateArray, FloatArray
from ml_assets.model.calibrate import AffineCalibrator

YEAR_DAYS = 365.25
LASTING_SD = 0.5
"""Of the shift that all dates share, in log odds: what other customers than the learned ones may need."""
PASSING_SDS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.6, 1.0)
FADING_DAYS = (0.0, 45.0, 180.0, 720.0)
"""How long what comes and goes takes to fade to a third; 0: each date has its own."""
TREND_SDS = (0.0, 0.3)
"""Log odds a year."""
SEASON_SDS = (0.0, 0.2, 0.5)
SEASON_WIDTH = 0.8
UNSEEN_SEASON_SD = 0.3
"""What a season that no year has shown yet adds to the range."""
_LIKELY_PASSING_SD = 0.6
_STEPS = 50
_TOLERANCE = 1e-10


@dataclass(frozen=True)
class DateShift:
    """The shift in log odds that a mature date's margins need, and its variance by the chance of the outcomes."""

    as_of_date: date
    shift: float
    variance: float


@dataclass(frozen=True)
class LevelAt:
    """The predicted shift of one date, its standard deviation over dates, and what it rests on."""

    shift: float
    sd: float
    dates: int
    is_season_seen: bool


@dataclass(frozen=True)
class Level:
    """The shifts of all mature dates, whose outcomes are known `horizon_days` after them.

    They are measured from `intercept`, that of the calibrator before any level. Where the level is not `is_applied` a
    date's margins are published without it, and the spread of dates is in the range all the same.
    """

    shifts: tuple[DateShift, ...]
    horizon_days: int
    intercept: float
    is_applied: bool = True

    def at(self, day: date) -> LevelAt:
        """The level of the scores of a day, by the dates whose outcomes were known on it.

        It holds for a month: the dates that it is estimated from are months apart, and a score should not move from
        day to day by what is no more than an interpolation.
        """
        known = [one for one in self.shifts if one.as_of_date + timedelta(days=self.horizon_days) <= day]
        level = predict_shift(known, day.replace(day=1))
        return level if self.is_applied else replace(level, shift=0.0, sd=float(np.hypot(level.sd, level.shift)))

    def shifts_of(self, dates: DateArray) -> FloatArray:
        """The shift of each row at its own date, shape (rows,)."""
        days, position = np.unique(dates, return_inverse=True)
        return np.array([self.at(day.item()).shift for day in days])[position]

    def to_record(self) -> dict[str, Any]:
        """JSON-ready; `from_record` reads it back."""
        shifts = [[one.as_of_date.isoformat(), one.shift, one.variance] for one in self.shifts]
        settings = {"horizon_days": self.horizon_days, "intercept": self.intercept, "is_applied": self.is_applied}
        return {**settings, "shifts": shifts}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Level":
        """Read back what `to_record` gave."""
        shifts = (DateShift(date.fromisoformat(day), shift, variance) for day, shift, variance in record["shifts"])
        return cls(tuple(shifts), record["horizon_days"], record["intercept"], record["is_applied"])


def measure_level(
    margins: FloatArray, outcomes: FloatArray, dates: DateArray, calibrator: AffineCalibrator, horizon_days: int
) -> Level:
    """The level of a calibrator from all labelled rows: margins, outcomes and as_of_dates, shape (rows,).

    From the first date with an outcome on: before it a history that was taken over holds only those who stayed.
    """
    log_odds, seen = calibrator.log_odds(margins), outcomes > 0
    days = np.unique(dates[dates >= dates[seen].min()]) if seen.any() else dates[:0]
    shifts = [DateShift(day.item(), *needed_shift(log_odds[dates == day], outcomes[dates == day])) for day in days]
    return Level(tuple(shifts), horizon_days, calibrator.intercept)


def needed_shift(log_odds: FloatArray, outcomes: FloatArray) -> tuple[float, float]:
    """The shift at which the mean probability is the share with the outcome, and its variance; at least one row.

    Where all rows, or none, have the outcome half a row counts as the other, so that the shift stays finite.
    """
    wanted = float(np.clip(outcomes.sum(), 0.5, len(outcomes) - 0.5))
    shift, information = 0.0, 1.0
    for _ in range(_STEPS):
        probabilities = 1.0 / (1.0 + np.exp(-np.clip(log_odds + shift, -500, 500)))
        information = max(float((probabilities * (1 - probabilities)).sum()), 1e-9)
        step = float(np.clip((wanted - probabilities.sum()) / information, -1.0, 1.0))
        shift += step
        if abs(step) < _TOLERANCE:
            break
    return shift, 1.0 / information


def predict_shift(shifts: Sequence[DateShift], day: date) -> LevelAt:
    """The shift of a day, averaged over the grid of sizes; without any date none, as uncertain as a level can be."""
    is_season_seen = _is_season_seen(shifts, day)
    now = np.array([float(day.toordinal())])
    times = np.array([float(one.as_of_date.toordinal()) for one in shifts])
    values = np.array([one.shift for one in shifts])
    noise = np.diag([one.variance for one in shifts]) if shifts else np.zeros((0, 0))
    origin = float(times.max()) if shifts else float(now[0])
    weights, means, variances = [], [], []
    for sizes in _grid(is_season_seen):
        factor = np.linalg.cholesky(sizes.covariance(times, times, origin) + noise)
        whitened = np.linalg.solve(factor, np.column_stack([values, sizes.covariance(times, now, origin)]))
        explained, towards = whitened[:, 0], whitened[:, 1]
        log_likelihood = -0.5 * explained @ explained - np.log(np.diag(factor)).sum()
        weights.append(log_likelihood + sizes.log_prior())
        means.append(towards @ explained)
        variances.append(sizes.covariance(now, now, origin)[0, 0] - towards @ towards)
    mean, variance = _mixture(np.array(weights), np.array(means), np.array(variances))
    unseen = 0.0 if is_season_seen else UNSEEN_SEASON_SD**2
    return LevelAt(mean, float(np.sqrt(variance + unseen)), len(shifts), is_season_seen)


@dataclass(frozen=True)
class _Sizes:
    """Standard deviations of what a shift may be made of, in log odds, and the days in which the passing part fades."""

    passing: float
    fading_days: float
    trend: float
    season: float

    def covariance(self, left: FloatArray, right: FloatArray, origin: float) -> FloatArray:
        """Of the shifts of two sets of days: (left, right). The trend has no effect at the origin."""
        apart = np.abs(left[:, None] - right[None, :])
        fading = np.exp(-apart / self.fading_days) if self.fading_days else apart == 0
        season = np.exp(-2 * (np.sin(np.pi * apart / YEAR_DAYS) / SEASON_WIDTH) ** 2)
        trend = (left[:, None] - origin) * (right[None, :] - origin) / YEAR_DAYS**2
        return np.asarray(LASTING_SD**2 + self.passing**2 * fading + self.trend**2 * trend + self.season**2 * season)

    def log_prior(self) -> float:
        """Smaller sizes are likelier, and so is a level without a trend."""
        return -0.5 * (self.passing / _LIKELY_PASSING_SD) ** 2 - (1.0 if self.trend else 0.0)


def _grid(is_season_seen: bool) -> Iterator[_Sizes]:
    seasons = SEASON_SDS if is_season_seen else (0.0,)
    for passing, fading_days, trend, season in product(PASSING_SDS, FADING_DAYS, TREND_SDS, seasons):
        if passing or fading_days == FADING_DAYS[0]:
            yield _Sizes(passing, fading_days, trend, season)


def _is_season_seen(shifts: Sequence[DateShift], day: date) -> bool:
    """Whether the dates span a year and reach back to the same season of the year before."""
    if not shifts:
        return False
    first, last = (pick(one.as_of_date for one in shifts) for pick in (min, max))
    year = timedelta(days=YEAR_DAYS)
    return last - first >= year and day - first >= year


def _mixture(log_weights: FloatArray, means: FloatArray, variances: FloatArray) -> tuple[float, float]:
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    mean = float(weights @ means)
    return mean, float(weights @ (variances + (means - mean) ** 2))
