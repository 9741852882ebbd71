"""A candidate fitted on folds whose origin rolls forward, and what it says of the rows after each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.estimators.base import FitRows
from ml_assets.estimators.candidates import fit_candidate
from ml_assets.frames import FeatureEncoder, FloatArray
from ml_assets.model.explain import bound_log_odds, probabilities_of
from ml_assets.task import Feature
from ml_assets.training.lessons import Rows
from ml_assets.training.splits import BUCKETS, Fold, rolling_folds

Mode = Literal["by_time", "by_entity"]
_ENTITY_FOLDS = 5


@dataclass(frozen=True)
class Folds:
    """Masks of what is learned from and judged, one after the other.

    In mode by_entity the history is too short for time: other entities of the same dates are judged.
    """

    mode: Mode
    folds: tuple[Fold, ...]

    @property
    def judged(self) -> npt.NDArray[np.bool_]:
        """The rows that any fold judges, shape (rows,)."""
        return np.asarray(np.any([fold.judge for fold in self.folds], axis=0))


def make_folds(rows: Rows, horizon_days: int) -> Folds | None:
    """Three origins over the later half of the dates, each a horizon after what it learns from; else five by entity.

    None where neither leaves both classes on both sides.
    """
    by_time = rolling_folds(rows.dates, rows.outcomes, horizon_days=horizon_days)
    if by_time:
        return Folds("by_time", tuple(by_time))
    first, last = rows.dates.min().item(), rows.dates.max().item()
    by_entity = []
    for number in range(_ENTITY_FOLDS):
        judge = rows.buckets // (BUCKETS // _ENTITY_FOLDS) == number
        if all(part.any() and 0 < rows.outcomes[part].sum() < part.sum() for part in (~judge, judge)):
            by_entity.append(Fold(~judge, judge, first, last))
    return Folds("by_entity", tuple(by_entity)) if by_entity else None


def judged_probabilities(
    frame: pd.DataFrame,
    features: Sequence[Feature],
    rows: Rows,
    folds: Folds,
    kind: str,
    settings: Mapping[str, Any],
    seed: int,
    threads: int,
) -> FloatArray:
    """What the candidate says of each judged row, fitted on the rows before it: shape (judged rows,), uncalibrated.

    `frame` has the rows' features. Whatever is calibrated later moves all customers of a date alike, with a change and
    without.
    """
    said = np.full(len(frame), np.nan)
    for fold in folds.folds:
        encoder = FeatureEncoder.fit(frame[fold.fit], features)
        learned = FitRows(encoder.encode(frame[fold.fit]), rows.outcomes[fold.fit], encoder, None, seed, threads)
        estimator = fit_candidate(kind, learned, settings)
        said[fold.judge] = estimator.margins(encoder.encode(frame[fold.judge]))
    return probabilities_of(bound_log_odds(said[folds.judged]))


def shuffled_within_dates(frame: pd.DataFrame, names: Sequence[str], seed: int) -> pd.DataFrame:
    """The frame with these columns moved together to other rows of the same company and date: a placebo.

    The columns keep their values and whatever they say of a date, and lose what they say of an entity.
    """
    groups = frame.groupby(["company_id", "as_of_date"], sort=False).ngroup().to_numpy()
    drawn = np.random.default_rng(seed).permutation(len(frame))
    source = np.empty(len(frame), dtype=np.intp)
    source[np.argsort(groups, kind="stable")] = drawn[np.argsort(groups[drawn], kind="stable")]
    placebo = frame.copy(deep=False)
    for name in names:
        placebo[name] = frame[name].take(source).set_axis(frame.index)
    return placebo
