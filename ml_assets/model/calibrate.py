"""Affine calibration of a model's margin: published log-odds = slope * margin + intercept.

Logistic recalibration (Cox 1958, "Two further applications of a model for binary regression"; as the
calibration of a classifier's score, Platt 1999), by maximum likelihood on later dates than the fit.
Without Platt's target smoothing, which would break a property we want: on the calibration rows the mean
published probability equals the observed share. What smoothing guards against, a slope that runs away on
few or separable outcomes, is held by a weak Gaussian prior on the slope around 1.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ml_assets.frames import FloatArray
from ml_assets.resampling import entity_draws, members

SLOPE_PRIOR_SD = 0.3
BOOTSTRAP_ROUNDS = 200
RANGE_SDS = 1.96
_STEPS = 100
_TOLERANCE = 1e-12


@dataclass(frozen=True)
class AffineCalibrator:
    """Slope (positive) and intercept on the log-odds scale, and how they came about.

    `covariance` is (variance of the slope, covariance, variance of the intercept) over customers drawn again;
    None where no outcomes stand behind them. `level_sd` is the standard deviation of the intercept over dates.
    """

    slope: float
    intercept: float
    reason: str
    covariance: tuple[float, float, float] | None = None
    level_sd: float = 0.0

    def log_odds(self, margins: FloatArray) -> FloatArray:
        """Published log-odds of margins, before the bounds of publication."""
        return self.slope * margins + self.intercept

    def half_width(self, margins: FloatArray) -> FloatArray:
        """Half of the 95 percent range of the published log-odds by customers alone; infinite where it is not known.

        The delta method on a line: var(slope * m + intercept) = m^2 var(slope) + 2 m cov + var(intercept).
        """
        if self.covariance is None:
            return np.full(len(margins), np.inf)
        slope, both, intercept = self.covariance
        variance = slope * margins**2 + 2 * both * margins + intercept
        return np.asarray(RANGE_SDS * np.sqrt(np.maximum(variance, 0.0)))

    def range_half_width(self, margins: FloatArray) -> FloatArray:
        """`half_width`, with the spread of the level over dates."""
        return np.hypot(self.half_width(margins), RANGE_SDS * self.level_sd)


IDENTITY_REASON = "no calibration dates: the margin keeps its slope"


def identity(reason: str = IDENTITY_REASON) -> AffineCalibrator:
    """The calibrator that changes nothing."""
    return AffineCalibrator(slope=1.0, intercept=0.0, reason=reason)


def fit_calibrator(margins: FloatArray, outcomes: FloatArray) -> AffineCalibrator:
    """Fit slope and intercept on calibration rows (margins and outcomes of shape (rows,)).

    One class only: nothing to fit, the identity. A slope that is not positive would turn the ranking
    round: only the intercept is fitted then, and the reason says so.
    """
    if len(outcomes) == 0 or outcomes.min() == outcomes.max():
        return identity("the calibration dates hold only one class: the margin is published as it is")
    slope, intercept = _newton(margins, outcomes, fit_slope=True)
    if slope > 0:
        return AffineCalibrator(slope, intercept, f"fitted on {len(outcomes)} rows of the calibration dates")
    _, shifted = _newton(margins, outcomes, fit_slope=False)
    reason = f"the fitted slope {slope:.3g} is not positive: only the intercept is fitted"
    return AffineCalibrator(1.0, shifted, reason)


def grown(calibrator: AffineCalibrator, outcomes_then: float, outcomes_now: float) -> AffineCalibrator:
    """The calibrator for the same settings fitted on more outcomes: a slope below 1 nears it, as a power of itself.

    How far it is below 1 is what the fit learned from noise, and fades in proportion as outcomes grow (Van Houwelingen
    & le Cessie 1990, Stat. Med. 9: 1 - slope is features over the fit's chi-squared). A slope above 1 stays: what held
    the fit back, a penalty or few trees, are its settings. Without outcomes the calibrator stays as it is.
    """
    if calibrator.slope >= 1 or not 0 < outcomes_then <= outcomes_now:
        return calibrator
    return replace(calibrator, slope=float(calibrator.slope ** (outcomes_then / outcomes_now)))


def levelled(calibrator: AffineCalibrator, margins: FloatArray, outcomes: FloatArray) -> AffineCalibrator:
    """The calibrator's slope, with the intercept at which the mean of these margins is the share with the outcome.

    What the shifts of single dates are measured from (`level.py`). With one class only the calibrator stays as it is.
    """
    if len(outcomes) == 0 or outcomes.min() == outcomes.max():
        return calibrator
    _, intercept = _newton(calibrator.slope * margins, outcomes, fit_slope=False)
    return replace(calibrator, intercept=intercept)


def with_range(
    calibrator: AffineCalibrator, margins: FloatArray, outcomes: FloatArray, entities: np.ndarray[Any, Any], seed: int
) -> AffineCalibrator:
    """The calibrator with the spread that it has over customers drawn again: a bootstrap, 200 rounds.

    `entities` gives each row's customer, shape (rows,): the rows of one customer are drawn together. With one
    class only the calibrator stays as it is.
    """
    if len(outcomes) == 0 or outcomes.min() == outcomes.max():
        return calibrator
    draws = _bootstrap(calibrator, margins, outcomes, entities, seed)
    slope, both, intercept = np.cov(draws, rowvar=False)[[0, 0, 1], [0, 1, 1]].tolist()
    return replace(calibrator, covariance=(slope, both, intercept))


def _bootstrap(
    calibrator: AffineCalibrator, margins: FloatArray, outcomes: FloatArray, entities: np.ndarray[Any, Any], seed: int
) -> FloatArray:
    """(slope, intercept) of each round, shape (rounds, 2): one Newton step from the calibrator, on sums by customer.

    The one-step bootstrap of a regression (Moulton and Zeger 1991, Comput. Stat. Data Anal. 11(1)). The prior on the
    slope keeps a round with few outcomes finite; so does the bound on the step.
    """
    member = members(entities)
    centre = float(margins.mean())
    centred = margins - centre
    expected = 1.0 / (1.0 + np.exp(-np.clip(calibrator.log_odds(margins), -500, 500)))
    missed, weight = expected - outcomes, expected * (1 - expected)
    terms = (missed * centred, missed, weight * centred**2, weight * centred, weight)
    by_customer = np.column_stack([np.bincount(member, term) for term in terms])
    drawn = np.stack(list(entity_draws(member, seed, BOOTSTRAP_ROUNDS)))
    by_slope, by_intercept, slopes, both, intercepts = (drawn @ by_customer).T
    by_slope = by_slope + (calibrator.slope - 1.0) / SLOPE_PRIOR_SD**2
    slopes, intercepts = slopes + 1.0 / SLOPE_PRIOR_SD**2, intercepts + 1e-9
    determinant = slopes * intercepts - both**2
    slope = calibrator.slope - np.clip((intercepts * by_slope - both * by_intercept) / determinant, -1, 1)
    step = np.clip((slopes * by_intercept - both * by_slope) / determinant, -2, 2)
    intercept = calibrator.intercept + calibrator.slope * centre - step
    return np.column_stack([slope, intercept - slope * centre])


def _newton(margins: FloatArray, outcomes: FloatArray, *, fit_slope: bool) -> tuple[float, float]:
    """Maximise log-likelihood - (slope - 1)^2 / (2 sd^2) by Newton steps with halving."""
    centre = float(margins.mean())
    columns = np.column_stack([margins - centre, np.ones_like(margins)])
    free = np.array([fit_slope, True])
    rate = float(outcomes.mean())
    weights = np.array([1.0, np.log(rate / (1 - rate))])
    loss = _loss(columns, outcomes, weights)
    for _ in range(_STEPS):
        step = _step(columns, outcomes, weights, free)
        size = 1.0
        while size > 1e-8 and _loss(columns, outcomes, weights - size * step) > loss:
            size /= 2
        moved = weights - size * step
        improved = loss - _loss(columns, outcomes, moved)
        weights, loss = moved, loss - improved
        if np.abs(size * step).max() < _TOLERANCE or improved <= 0:
            break
    return float(weights[0]), float(weights[1] - weights[0] * centre)


def _step(columns: FloatArray, outcomes: FloatArray, weights: FloatArray, free: np.ndarray) -> FloatArray:
    probabilities = 1.0 / (1.0 + np.exp(-(columns @ weights)))
    gradient = columns.T @ (probabilities - outcomes)
    gradient[0] += (weights[0] - 1.0) / SLOPE_PRIOR_SD**2
    curvature = (columns * (probabilities * (1 - probabilities))[:, None]).T @ columns
    curvature[0, 0] += 1.0 / SLOPE_PRIOR_SD**2
    step = np.zeros(2)
    step[free] = np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
    return step


def _loss(columns: FloatArray, outcomes: FloatArray, weights: FloatArray) -> float:
    log_odds = columns @ weights
    likelihood = np.logaddexp(0.0, log_odds) - outcomes * log_odds
    return float(likelihood.sum() + (weights[0] - 1.0) ** 2 / (2 * SLOPE_PRIOR_SD**2))
