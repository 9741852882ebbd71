"""What every estimator can do, what it is fitted on, and how a stored one is read back.

An estimator turns a matrix into margins (uncalibrated log-odds) and each margin into parts, one per
feature, that add up to it. It is stored as a few named byte strings: JSON, and the libraries' own formats.
Never as a pickle, which runs whatever code it holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from ml_assets.frames import FeatureEncoder, FloatArray

Files = dict[str, bytes]
FEW_ROWS = 64
"""Up to so many rows one thread predicts: waking others takes longer than the work."""

Settings = Mapping[str, Any]
"""What a fit is told, JSON-ready. What is left out is the default, or chosen on the later part of the fit rows."""


@dataclass(frozen=True)
class FitRows:
    """What an estimator learns from: matrix (rows, features), outcomes (rows,), and the inner split.

    `inner` holds masks of an earlier and a later part of these same rows, for choosing a size or a
    strength; None when there are too few dates.
    """

    matrix: FloatArray
    outcomes: FloatArray
    encoder: FeatureEncoder
    inner: tuple[np.ndarray, np.ndarray] | None
    seed: int
    threads: int


class Estimator(Protocol):
    """A fitted model of the margin."""

    kind: ClassVar[str]

    def margins(self, matrix: FloatArray) -> FloatArray:
        """Uncalibrated log-odds, shape (rows,)."""
        ...

    def parts(self, matrix: FloatArray) -> tuple[FloatArray, float]:
        """Parts of shape (rows, features) and a bias: bias + the row's sum equals its margin."""
        ...

    def settings(self) -> dict[str, object]:
        """All that a fit must be told to repeat this one on the same rows, JSON-ready."""
        ...

    def reason_cost(self) -> float:
        """Steps that one row's parts take, about: trees * leaves * depth^2 for TreeSHAP; 0 for what is a mere sum."""
        ...

    def dump(self) -> Files:
        """The estimator as named byte strings."""
        ...


def predicting_threads(matrix: FloatArray, threads: int) -> int:
    """One thread for few rows, else as many as there are."""
    return 1 if len(matrix) <= FEW_ROWS else threads


def log_loss_of(margins: FloatArray, outcomes: FloatArray) -> float:
    """Mean log loss of margins taken as log-odds."""
    return float(log_losses(margins, outcomes).mean())


def log_losses(margins: FloatArray, outcomes: FloatArray) -> FloatArray:
    """Log loss of each margin taken as log-odds."""
    return np.asarray(np.logaddexp(0.0, margins) - outcomes * margins)
