"""Columns that may be a consequence of the outcome and not a sign of it: found one by one, by what each tells alone.

Nothing here proves a leak, and nothing could: whether a column was known before the outcome stands in no table. What is
found is asked about.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binom

from ml_assets.frames import FeatureEncoder, FloatArray
from ml_assets.judging.evaluate import evaluate
from ml_assets.task import Feature

LeakKind = Literal["code", "alone", "filled", "missing", "value", "name"]

MOST_ALONE = 0.8
"""The AUC from which a single column tells too well: what is known beforehand rarely gets there by itself."""
MOST_AHEAD, LEAD = 0.78, 0.1
"""The AUC from which a column is suspected that is so far ahead of every other."""
MOST_BY_MISSING = 0.7
"""The AUC from which whether a column is filled tells too well."""
LEAST_BY_NAME = 0.6
"""The AUC from which a column that is named like the outcome is suspected."""
PURE = 0.95
"""The share of outcomes among some rows from which they are as good as all of them."""
NEARLY_NONE = 0.02
"""The share of outcomes among some rows, beside that among all, up to which they are as good as none."""
CHANCE = 1e-6
"""How rarely chance may give such rows."""
_CODE = 0.999
_MOST_VALUES = 50
_PRIOR_ROWS = 10.0
_USUAL_SHARE = 0.2
_SAY_NOTHING = {"customer", "client", "flag", "label", "status", "value", "type", "category", "outcome", "target"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Suspicion:
    """A column that may come of the outcome, and why, in a sentence that goes on from its name.

    `alone` is the AUC of this column by itself, on rows that its shares were not counted on.
    """

    feature: Feature
    kind: LeakKind
    reason: str
    alone: float


@dataclass(frozen=True)
class _Column:
    feature: Feature
    values: FloatArray
    alone: float


@dataclass(frozen=True)
class _Outcome:
    rows: FloatArray
    words: set[str]
    happened: str
    otherwise: str


def tells_alone(
    frame: pd.DataFrame, features: Sequence[Feature], outcomes: FloatArray, folds: np.ndarray
) -> FloatArray:
    """The AUC of each column by itself, shape (features,): the outcome's share by value, counted on the other folds."""
    return np.array([column.alone for column in _columns(frame, features, outcomes, folds)])


def find_leaks(
    frame: pd.DataFrame,
    features: Sequence[Feature],
    outcomes: FloatArray,
    folds: np.ndarray,
    *,
    outcome_name: str,
    happened: str,
    otherwise: str,
) -> list[Suspicion]:
    """The suspicious columns, in the features' order, with the plainest reason for each.

    outcomes (0.0 or 1.0) and folds have shape (rows,). `happened` and `otherwise` say when a row has the outcome and
    when it has not, as in "Churn is Yes".
    """
    outcome = _Outcome(outcomes, _words(outcome_name), happened, otherwise)
    suspicions = []
    columns = list(_columns(frame, features, outcomes, folds))
    for column in columns:
        next_best = max((other.alone for other in columns if other is not column), default=0.5)
        reasons = _reasons(column, next_best, frame[column.feature.name], outcome)
        kind, reason = next(reasons, (None, ""))
        if kind is not None:
            suspicions.append(Suspicion(column.feature, kind, reason, column.alone))
    return suspicions


def _reasons(
    column: _Column, next_best: float, given: "pd.Series[Any]", outcome: _Outcome
) -> Iterator[tuple[LeakKind, str]]:
    outcomes, happened = outcome.rows, outcome.happened
    missing = np.isnan(column.values)
    for part, state in ((~missing, "filled"), (missing, "empty")):
        kind: LeakKind = "filled" if state == "filled" else "missing"
        if _as_good_as_all(part, outcomes):
            yield kind, f"is {state} only where {happened} ({_share(part, outcomes)})"
        if _as_good_as_none(part, outcomes):
            yield kind, f"is {state} only where {outcome.otherwise} ({_share(part, outcomes)} where {happened})"
    if column.alone >= _CODE:
        yield "code", "says the same as the outcome in other words"
    by_missing = _auc_of_parts(missing, outcomes)
    if by_missing >= MOST_BY_MISSING:
        yield "missing", f"tells by being empty or not (AUC {by_missing:.2f}): is it filled in afterwards?"
    if column.alone >= MOST_ALONE:
        yield "alone", f"tells too well by itself where {happened} (AUC {column.alone:.2f})"
    if column.alone >= MOST_AHEAD and column.alone >= next_best + LEAD:
        yield (
            "alone",
            f"tells far more by itself than any other column (AUC {column.alone:.2f}; the next {next_best:.2f})",
        )
    for part, told in _telling_parts(column, given):
        if _as_good_as_all(part, outcomes):
            yield "value", f"is {told} only where {happened} ({_share(part, outcomes)})"
    if column.alone >= LEAST_BY_NAME and outcome.words & _words(column.feature.label):
        yield "name", f"is named like the outcome and tells much of it alone (AUC {column.alone:.2f})"


def _columns(
    frame: pd.DataFrame, features: Sequence[Feature], outcomes: FloatArray, folds: np.ndarray
) -> Iterator[_Column]:
    matrix = FeatureEncoder.fit(frame, features).encode(frame)
    for place, feature in enumerate(features):
        values = matrix[:, place]
        yield _Column(feature, values, _auc(_expected(_codes(values), outcomes, folds), outcomes))


def _codes(values: FloatArray) -> npt.NDArray[np.intp]:
    """Each value's number from 0: single values where they are few, else fiftieths; the missing ones together."""
    known = values[~np.isnan(values)]
    edges = np.unique(known)
    if len(edges) > _MOST_VALUES:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, _MOST_VALUES + 1)[1:], method="lower"))
    codes = np.searchsorted(edges, values, side="left")
    codes[np.isnan(values)] = len(edges)
    return codes


def _expected(codes: npt.NDArray[np.intp], outcomes: FloatArray, folds: np.ndarray) -> FloatArray:
    """The outcome's share among rows of the same code in the other folds, drawn to the share of all, shape (rows,)."""
    expected = np.empty(len(outcomes))
    size = int(codes.max()) + 1
    for fold in np.unique(folds):
        other = folds != fold
        rate = outcomes[other].mean()
        rows = np.bincount(codes[other], minlength=size)
        with_outcome = np.bincount(codes[other], outcomes[other], size)
        shares = (with_outcome + _PRIOR_ROWS * rate) / (rows + _PRIOR_ROWS)
        # Shares of other rows differ from fold to fold with their rate, which ranks nobody.
        expected[~other] = shares[codes[~other]] - rate
    return expected


def _auc(ranking: FloatArray, outcomes: FloatArray) -> float:
    squeezed = 0.5 + (ranking - ranking.mean()) / 4
    return float(evaluate(squeezed, outcomes)["auc"] or 0.5)


def _auc_of_parts(part: Mask, outcomes: FloatArray) -> float:
    """Of whether a row belongs to a part, whichever way it tells."""
    auc = _auc(part.astype(np.float64), outcomes)
    return max(auc, 1 - auc)


def _telling_parts(column: _Column, given: "pd.Series[Any]") -> Iterator[tuple[Mask, str]]:
    """The rows of single values: each category; of a number, those with its most frequent value, and those without."""
    known = ~np.isnan(column.values)
    codes, counts = np.unique(column.values[known], return_counts=True)
    if len(codes) < 2:
        return
    if column.feature.kind != "number":
        for code in codes:
            part = column.values == code
            value = given[part].iloc[0]
            yield part, f"{value:g}" if isinstance(value, float) else f"“{value}”"
        return
    usual = codes[counts.argmax()]
    if counts.max() >= _USUAL_SHARE * known.sum():
        yield column.values == usual, f"{usual:g}"
        yield known & (column.values != usual), f"other than {usual:g}"


def _as_good_as_all(part: Mask, outcomes: FloatArray) -> bool:
    rows, with_outcome, rate = int(part.sum()), int(outcomes[part].sum()), float(outcomes.mean())
    return rows > 0 and with_outcome >= PURE * rows and bool(binom.sf(with_outcome - 1, rows, rate) < CHANCE)


def _as_good_as_none(part: Mask, outcomes: FloatArray) -> bool:
    rows, with_outcome, rate = int(part.sum()), int(outcomes[part].sum()), float(outcomes.mean())
    is_rare = rows > 0 and with_outcome <= NEARLY_NONE * rate * rows
    return is_rare and bool(binom.cdf(with_outcome, rows, rate) < CHANCE)


def _share(part: Mask, outcomes: FloatArray) -> str:
    return f"{int(outcomes[part].sum()):,} of {int(part.sum()):,}"


def _words(name: str) -> set[str]:
    """The words of a column's name that say what it is about."""
    return {word.lower() for word in _WORD.findall(name) if len(word) > 3} - _SAY_NOTHING
