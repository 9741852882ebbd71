"""Affine calibration of a model's margin: published log-odds = slope * margin + intercept.

Logistic recalibration (Cox 1958, "Two further applications of a model for binary regression"; as the
calibration of a classifier's score, Platt 1999), by maximum likelihood on later dates than the fit.
Without Platt's target smoothing, which would break a property we want: on the calibration rows the mean
published probability equals the observed share. What smoothing guards against, a slope that runs away on
few or separable outcomes, is held by a weak Gaussian prior on the slope around 1.
"""

from dataclasses import dataclass

import numpy as np

from ml_assets.frames import FloatArray

SLOPE_PRIOR_SD = 1.0
_STEPS = 100
_TOLERANCE = 1e-12


@dataclass(frozen=True)
class AffineCalibrator:
    """Slope (positive) and intercept on the log-odds scale, and how they came about."""

    slope: float
    intercept: float
    reason: str

    def log_odds(self, margins: FloatArray) -> FloatArray:
        """Published log-odds of margins, before the bounds of publication."""
        return self.slope * margins + self.intercept


IDENTITY_REASON = "no calibration dates: the margin is published as it is"


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
