"""How much of a column other columns say already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from ml_assets.frames import FeatureEncoder, FloatArray
from ml_assets.task import Feature

LEAST_ROWS = 30
"""Fewer rows with both values tell nothing of two columns."""


def associations(frame: pd.DataFrame, feature: Feature, others: Sequence[Feature]) -> dict[str, float]:
    """How closely each other column goes with a feature, 0 to 1, the closest first.

    Of two numbers or flags Spearman's rank correlation without its sign; of a category and a number the correlation
    ratio of the number's ranks; of two categories Cramér's V. On the rows that have both values.
    """
    matrix = FeatureEncoder.fit(frame, [feature, *others]).encode(frame)
    values = {
        other.name: _association(matrix[:, 0], matrix[:, place], feature, other)
        for place, other in enumerate(others, 1)
        if other.name != feature.name
    }
    return dict(sorted(values.items(), key=lambda item: -item[1]))


def share_explained(frame: pd.DataFrame, feature: Feature, others: Sequence[Feature]) -> float | None:
    """The share of a number's or flag's ranks that a straight line of the others' ranks explains, 0 to 1.

    None of a category, and where too few rows have a value.
    """
    matrix = FeatureEncoder.fit(frame, [feature, *others]).encode(frame)
    known = ~np.isnan(matrix[:, 0])
    if feature.kind == "category" or known.sum() < max(LEAST_ROWS, 3 * len(others)):
        return None
    columns = [np.ones(int(known.sum()))]
    for place, other in enumerate(others, 1):
        values = matrix[known, place]
        if other.kind == "category":
            columns += [(values == code).astype(np.float64) for code in np.unique(values[~np.isnan(values)])]
        else:
            columns += [_ranks(values), np.isnan(values).astype(np.float64)]
    ranks = _ranks(matrix[known, 0])
    total = ((ranks - ranks.mean()) ** 2).sum()
    if total == 0:
        return None
    line = np.column_stack(columns)
    residuals = ranks - line @ np.linalg.lstsq(line, ranks, rcond=None)[0]
    return float(max(0.0, 1 - (residuals**2).sum() / total))


def _ranks(values: FloatArray) -> FloatArray:
    """Ranks from 0 to 1 of the values that are known, the middle for the others."""
    known = ~np.isnan(values)
    ranks = np.full(len(values), 0.5)
    if known.any():
        ranks[known] = (rankdata(values[known]) - 0.5) / known.sum()
    return ranks


def _association(ours: FloatArray, theirs: FloatArray, feature: Feature, other: Feature) -> float:
    known = ~(np.isnan(ours) | np.isnan(theirs))
    if known.sum() < LEAST_ROWS:
        return 0.0
    ours, theirs = ours[known], theirs[known]
    if feature.kind == other.kind == "category":
        return _cramers_v(ours, theirs)
    if "category" in (feature.kind, other.kind):
        codes, numbers = (ours, theirs) if feature.kind == "category" else (theirs, ours)
        return _correlation_ratio(codes, rankdata(numbers))
    ranks = rankdata(ours), rankdata(theirs)
    if min(np.ptp(each) for each in ranks) == 0:
        return 0.0
    return float(abs(np.corrcoef(*ranks)[0, 1]))


def _correlation_ratio(codes: FloatArray, ranks: FloatArray) -> float:
    total = ((ranks - ranks.mean()) ** 2).sum()
    _, group = np.unique(codes, return_inverse=True)
    counts, sums = np.bincount(group), np.bincount(group, ranks)
    between = (counts * (sums / counts - ranks.mean()) ** 2).sum()
    return float(np.sqrt(between / total)) if total else 0.0


def _cramers_v(ours: FloatArray, theirs: FloatArray) -> float:
    rows, columns = (np.unique(each, return_inverse=True)[1] for each in (ours, theirs))
    table = np.zeros((int(rows.max()) + 1, int(columns.max()) + 1))
    np.add.at(table, (rows, columns), 1)
    smaller = min(table.shape) - 1
    if smaller == 0:
        return 0.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    return float(np.sqrt(((table - expected) ** 2 / expected).sum() / table.sum() / smaller))
