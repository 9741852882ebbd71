"""Which features a model learns from where outcomes are few for the features.

With some hundred outcomes and more than a hundred features every estimator finds rules that are noise. A logistic
regression under an L1 penalty (Tibshirani 1996, J. R. Stat. Soc. B 58) leaves out what tells little beside the rest;
how many it leaves is decided on the later part of the fit rows, by what a plain regression on those left foretells
(the relaxed lasso: Meinshausen 2007, Comput. Stat. Data Anal. 52). With many outcomes all features stay: a straight
line must not throw out what only trees could use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_assets.estimators import FitRows, log_losses, near_the_best
from ml_assets.frames import FloatArray
from ml_assets.logistic import features_with_weight, fit_linear
from ml_assets.task import Feature

OUTCOMES_PER_FEATURE = 10
"""Fewer are few: Peduzzi et al. 1996, J. Clin. Epidemiol. 49 (12)."""
L1_STRENGTHS = (0.02, 0.03, 0.05, 0.1)
L2_STRENGTHS = (0.001, 0.01, 0.1, 1.0)

Mask = npt.NDArray[np.bool_]


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
    """The features to learn from: all, unless outcomes are few and fewer features foretell better."""
    everything = Selection(np.arange(rows.matrix.shape[1]), None)
    if rows.inner is None or rows.outcomes.sum() >= OUTCOMES_PER_FEATURE * len(everything.kept):
        return everything
    early, late = rows.inner
    losses: dict[float | None, FloatArray] = {None: _later_losses(rows, early, late, everything.kept)}
    found = features_with_weight(rows.matrix[early], rows.outcomes[early], rows.encoder, L1_STRENGTHS)
    for strength, kept in zip(L1_STRENGTHS, found, strict=True):
        if len(kept):
            losses[strength] = _later_losses(rows, early, late, kept)
    chosen = min(near_the_best(losses), key=lambda strength: np.inf if strength is None else strength)
    if chosen is None:
        return everything
    return Selection(features_with_weight(rows.matrix, rows.outcomes, rows.encoder, [chosen])[0], chosen)


def select_again(rows: FitRows, earlier: Selection) -> Selection:
    """What the penalty of an earlier selection leaves of these rows' features; its own where that is nothing."""
    if earlier.strength is None:
        return earlier
    kept = features_with_weight(rows.matrix, rows.outcomes, rows.encoder, [earlier.strength])[0]
    return Selection(kept, earlier.strength) if len(kept) else earlier


def _later_losses(rows: FitRows, early: Mask, late: Mask, kept: npt.NDArray[np.intp]) -> FloatArray:
    """Log losses of the later rows by a regression on these features of the earlier ones, of the best strength."""
    matrix: FloatArray = rows.matrix[:, kept]
    models = fit_linear(matrix[early], rows.outcomes[early], rows.encoder.narrowed(kept), L2_STRENGTHS)
    found = [log_losses(model.margins(matrix[late]), rows.outcomes[late]) for model in models]
    return min(found, key=lambda losses: float(losses.mean()))
