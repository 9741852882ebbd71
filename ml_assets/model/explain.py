"""Why a probability is what it is: additive parts on the log-odds scale.

A published probability never leaves [0.0001, 0.9999]: nothing we train on supports a stronger claim. Where
the bound cuts, a row's parts are scaled by one factor, so that they still add up and keep their signs.
"""

from dataclasses import dataclass

import numpy as np

from ml_assets.frames import FloatArray
from ml_assets.model.calibrate import AffineCalibrator

SMALLEST_PROBABILITY = 1e-4
LARGEST_LOG_ODDS = float(np.log((1 - SMALLEST_PROBABILITY) / SMALLEST_PROBABILITY))


@dataclass(frozen=True)
class PublishedParts:
    """Log-odds (rows,), the baseline, and contributions (rows, features): baseline + row sum = log-odds."""

    log_odds: FloatArray
    baseline: float
    contributions: FloatArray


def bound_log_odds(log_odds: FloatArray) -> FloatArray:
    """Log-odds within the bounds of publication."""
    return np.clip(log_odds, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)


def probabilities_of(log_odds: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x))."""
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


def publish_parts(parts: FloatArray, bias: float, calibrator: AffineCalibrator) -> PublishedParts:
    """Scale parts as the calibrator scales the margin: slope * part; baseline = slope * bias + intercept."""
    baseline = float(bound_log_odds(calibrator.log_odds(np.array([bias])))[0])
    contributions = calibrator.slope * parts
    total = contributions.sum(axis=1)
    wanted = bound_log_odds(calibrator.log_odds(parts.sum(axis=1) + bias)) - baseline
    cut = np.abs(total - wanted) > 1e-9
    if cut.any():
        contributions[cut] *= (wanted[cut] / total[cut])[:, None]
    return PublishedParts(wanted + baseline, baseline, contributions)
