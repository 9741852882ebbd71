"""Which features a model learns from where outcomes are few for the features.

With some hundred outcomes and more than a hundred features every estimator finds rules that are noise. An adaptive
lasso (Zou 2006, J. Am. Stat. Assoc. 101) leaves out what tells little beside the rest; how many it leaves is decided
by the Bayesian information criterion of a plain regression on those left, which counts outcomes, not rows (Volinsky &
Raftery 2000, Biometrics 56). With many outcomes all features stay: a straight line must not throw out what only trees
could use. A feature with one value tells nothing and counts for nothing: a shop without tickets has as many outcomes
for each of its features as if there were no tickets in the matrix.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_assets.estimators.base import FitRows, log_losses
from ml_assets.estimators.logistic import features_with_weight, fit_linear
from ml_assets.frames import FloatArray
from ml_assets.task import Feature

OUTCOMES_PER_FEATURE = 10
"""Fewer are few: Peduzzi et al. 1996, J. Clin. Epidemiol. 49 (12)."""
L1_STRENGTHS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
PLAIN_STRENGTH = 1.0
"""Of the plain regression: hardly any penalty."""


@dataclass(frozen=True)
class Selection:
    """Positions of the features that stay, in order; ``strength`` is the L1 penalty's inverse, None where all stay."""

    kept: npt.NDArray[np.intp]
    strength: float | None

    def record(self, features: Sequence[Feature]) -> dict[str, Any]:
        """What was left out of all features, JSON-ready."""
        kept = set(self.kept.tolist())
        left_out = [feature.name for place, feature in enumerate(features) if place not in kept]
        return {"strength": self.strength, "kept": len(kept), "left_out": left_out}


def select_features(rows: FitRows) -> Selection:
    """The features to learn from: all that differ between rows, unless outcomes are few and the penalty leaves some.

    From the strongest penalty on, for as long as the features that come back are worth their number.
    """
    differing = _differing(rows.matrix)
    everything = Selection(differing, None) if len(differing) else every_feature(rows)
    if not len(differing) or rows.outcomes.sum() >= OUTCOMES_PER_FEATURE * len(differing):
        return everything
    best, least = everything, np.inf
    chosen = features_with_weight(
        rows.matrix[:, differing], rows.outcomes, rows.encoder.narrowed(differing), L1_STRENGTHS
    )
    for strength, places in zip(L1_STRENGTHS, chosen, strict=True):
        kept = differing[places]
        if not len(kept):
            continue
        criterion = _information_criterion(rows, kept)
        if criterion >= least:
            break
        best, least = Selection(kept, strength), criterion
    return best


def every_feature(rows: FitRows) -> Selection:
    """All features stay."""
    return Selection(np.arange(rows.matrix.shape[1]), None)


def _differing(matrix: FloatArray) -> npt.NDArray[np.intp]:
    """Positions of the columns with two values or more, a missing one among them."""
    known = ~np.isnan(matrix)
    values = np.where(known, matrix, np.inf).min(axis=0), np.where(known, matrix, -np.inf).max(axis=0)
    return np.flatnonzero((values[0] < values[1]) | (known.any(axis=0) & ~known.all(axis=0)))


def _information_criterion(rows: FitRows, kept: npt.NDArray[np.intp]) -> float:
    """Deviance + features * ln(outcomes) of a plain regression on these features."""
    matrix = rows.matrix[:, kept]
    model = fit_linear(matrix, rows.outcomes, rows.encoder.narrowed(kept), [PLAIN_STRENGTH])[0]
    deviance = 2 * log_losses(model.margins(matrix), rows.outcomes).sum()
    return float(deviance + len(kept) * np.log(rows.outcomes.sum()))
