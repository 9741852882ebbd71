"""Promised and kept by date: what one date's figure cannot say, several can.

A month may be kept or missed by chance of its season alone, whatever the number of its customers. So how well a model
is calibrated is told over all dates that it had not seen, and whether it does worse than its raw margin as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np

from ml_assets.frames import DateArray, FloatArray
from ml_assets.judging.evaluate import Metrics, calibration_error, log_losses_of
from ml_assets.model.calibrate import RANGE_SDS, AffineCalibrator
from ml_assets.model.explain import bound_log_odds, probabilities_of
from ml_assets.model.level import Level, needed_shift

FEWEST_DATES = 3
"""Of fewer nothing can be said about how dates differ."""


@dataclass(frozen=True)
class JudgedDate:
    """One date's rows that the model had not seen: shares in (0, 1), losses per row.

    `promised` is the mean probability and its ends are those of the level's 95 percent range; `is_in_range` counts the
    chance of the outcomes in. What begins with raw is of the margin as it is.
    """

    as_of_date: date
    rows: int
    outcomes: int
    promised: float
    promised_low: float
    promised_high: float
    kept: float
    is_in_range: bool
    log_loss: float
    brier: float
    calibration_error: float
    raw_log_loss: float
    raw_brier: float
    raw_calibration_error: float

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "as_of_date": self.as_of_date.isoformat()}


def judge_dates(
    margins: FloatArray, outcomes: FloatArray, dates: DateArray, calibrator: AffineCalibrator, level: Level
) -> Iterator[JudgedDate]:
    """Each date's rows by the level that was known on it; all arrays have shape (rows,).

    `calibrator` has the intercept before any level.
    """
    for day in np.unique(dates):
        there = dates == day
        predicted = level.at(day.item())
        log_odds, came_true = calibrator.log_odds(margins[there]), outcomes[there]
        needed, variance = needed_shift(log_odds, came_true)
        published, low, high, raw = (
            probabilities_of(bound_log_odds(values))
            for values in (
                log_odds + predicted.shift,
                log_odds + predicted.shift - RANGE_SDS * predicted.sd,
                log_odds + predicted.shift + RANGE_SDS * predicted.sd,
                margins[there],
            )
        )
        yield JudgedDate(
            as_of_date=day.item(),
            rows=len(came_true),
            outcomes=int(came_true.sum()),
            promised=float(published.mean()),
            promised_low=float(low.mean()),
            promised_high=float(high.mean()),
            kept=float(came_true.mean()),
            is_in_range=bool(abs(needed - predicted.shift) <= RANGE_SDS * np.hypot(predicted.sd, np.sqrt(variance))),
            log_loss=float(log_losses_of(published, came_true).mean()),
            brier=float(((published - came_true) ** 2).mean()),
            calibration_error=calibration_error(published, came_true),
            raw_log_loss=float(log_losses_of(raw, came_true).mean()),
            raw_brier=float(((raw - came_true) ** 2).mean()),
            raw_calibration_error=calibration_error(raw, came_true),
        )


def is_worse_than_raw(dates: Sequence[JudgedDate]) -> bool:
    """Whether what is published has a higher Brier score than the raw margin over the dates, beyond chance.

    Both rank the rows alike, so that the difference is one of calibration alone. Beyond chance: the 95 percent interval
    of its mean over dates (Student's t) lies above zero. Fewer than FEWEST_DATES cannot tell.
    """
    if len(dates) < FEWEST_DATES:
        return False
    from scipy.stats import t

    worse_by = np.array([judged.brier - judged.raw_brier for judged in dates])
    error = worse_by.std(ddof=1) / np.sqrt(len(dates))
    return bool(worse_by.mean() - t.ppf(0.975, len(dates) - 1) * error > 0)


def calibration_over_dates(dates: Sequence[JudgedDate]) -> Metrics:
    """The mean calibration error over the dates, its least and its greatest: none of fewer than two dates."""
    errors = [judged.calibration_error for judged in dates]
    ends = (float(np.mean(errors)), min(errors), max(errors)) if len(errors) > 1 else (None, None, None)
    names = ("calibration_error_by_date", "calibration_error_by_date_low", "calibration_error_by_date_high")
    return {"judged_dates": float(len(errors)), **dict(zip(names, ends, strict=True))}
