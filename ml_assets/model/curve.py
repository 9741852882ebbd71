"""One curve per entity over several horizons, through the published probability of the task's own.

A discrete-time hazard (Cox 1972; as a regression per interval, Allison 1982, Sociological Methodology 13): in each step
between two horizons, the log-odds of the outcome among those who are still without it are a line of the published
log-odds. The hazards' sum up to a horizon, relative to that up to the task's own, says how much of an entity's risk has
come by then. So the curve never falls, ends where the history does, and keeps the published probability as it is.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson

from ml_assets.frames import FloatArray
from ml_assets.model.calibrate import fit_calibrator
from ml_assets.model.explain import SMALLEST_PROBABILITY, probabilities_of

DECIMALS = 6


@dataclass(frozen=True)
class Step:
    """From the end of the step before it, or from 0, to `days`; its log-odds are slope * published ones + intercept."""

    days: int
    slope: float
    intercept: float

    def hazard(self, log_odds: FloatArray) -> FloatArray:
        """The step's cumulative hazard, minus the logarithm of the share that stays without the outcome."""
        return np.logaddexp(0.0, self.slope * log_odds + self.intercept)


@dataclass(frozen=True)
class HorizonCurve:
    """How risk comes over the days. `steps` in order of their days, one of which ends with the horizon; or none at all,
    and then nothing is known but the probability of the horizon itself.
    """

    horizon_days: int
    steps: tuple[Step, ...] = ()

    @property
    def days(self) -> tuple[int, ...]:
        """The horizons that the curve speaks of, in days, the last of which is its reach."""
        return tuple(step.days for step in self.steps) or (self.horizon_days,)

    def probabilities(self, log_odds: FloatArray) -> FloatArray:
        """By published log-odds (rows,), the probability of the outcome within each of `days`: (rows, days)."""
        published = probabilities_of(log_odds)
        if not self.steps:
            return published[:, None]
        hazards = np.cumsum([step.hazard(log_odds) for step in self.steps], axis=0)
        own = self.days.index(self.horizon_days)
        total = np.logaddexp(0.0, log_odds)
        curve = -np.expm1(-total * hazards / hazards[own]).T
        curve = np.round(np.clip(curve, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY), DECIMALS)
        curve[:, :own] = np.minimum(curve[:, :own], published[:, None])
        curve[:, own + 1 :] = np.maximum(curve[:, own + 1 :], published[:, None])
        curve[:, own] = published
        return np.asarray(curve)

    def record(self) -> dict[str, Any]:
        """The curve as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "HorizonCurve":
        """Read back what `record` gave."""
        return cls(record["horizon_days"], tuple(Step(**step) for step in record["steps"]))


def fit_curve(
    log_odds: FloatArray,
    outcome_days: FloatArray,
    observed_days: FloatArray,
    *,
    horizon_days: int,
    curve_days: Sequence[int],
    minimum_outcomes: int,
) -> HorizonCurve:
    """Learn the steps from published log-odds of rows that the model had not learned from, all arrays (rows,).

    `outcome_days` is NaN where no outcome is known; a row tells of a step when it was observed to its end. A step needs
    `minimum_outcomes` rows with the outcome and as many without; one that has fewer is joined to the next. Without
    enough up to the horizon there are no steps.
    """
    came = np.where(np.isnan(outcome_days), np.inf, outcome_days)
    observed = np.nan_to_num(observed_days, nan=0.0)

    def step(begin: int, end: int) -> Step | None:
        at_risk = (came >= begin) & (observed >= end)
        outcomes = (came[at_risk] < end).astype(np.float64)
        if min(outcomes.sum(), (1 - outcomes).sum()) < minimum_outcomes:
            return None
        line = fit_calibrator(log_odds[at_risk], outcomes)
        return Step(end, line.slope, line.intercept)

    steps: list[Step] = []
    for end in sorted({*curve_days, horizon_days}):
        fitted = step(steps[-1].days if steps else 0, end)
        while fitted is None and end == horizon_days and steps:
            steps.pop()
            fitted = step(steps[-1].days if steps else 0, end)
        if fitted is not None:
            steps.append(fitted)
        elif end == horizon_days:
            return HorizonCurve(horizon_days)
    return HorizonCurve(horizon_days, tuple(steps))


def expected_days(days: Sequence[int], probabilities: FloatArray) -> FloatArray:
    """Days without the outcome that are to be expected up to the last of `days`, (rows,), of (rows, days).

    Between two horizons the hazard is taken to be constant.
    """
    remaining = np.column_stack([np.ones(len(probabilities)), 1.0 - probabilities])
    before, after = remaining[:, :-1], remaining[:, 1:]
    fall = -np.log(after / before)
    mean = np.where(fall > 1e-9, (before - after) / np.maximum(fall, 1e-9), before)
    return np.asarray(mean @ np.diff([0, *days]).astype(np.float64))


def write_curves(curve: HorizonCurve, log_odds: FloatArray) -> list[str]:
    """Per row {within, reach_days, expected_days} as JSON text: what is published of the curve.

    `within` has a probability by number of days, `expected_days` the days without the outcome among the next
    `reach_days`.
    """
    probabilities = curve.probabilities(log_odds)
    names, reach = [str(day) for day in curve.days], curve.days[-1]
    expected = np.round(expected_days(curve.days, probabilities), 1).tolist()
    return [
        orjson.dumps(
            {"within": dict(zip(names, row, strict=True)), "reach_days": reach, "expected_days": stays}
        ).decode()
        for row, stays in zip(probabilities.tolist(), expected, strict=True)
    ]
