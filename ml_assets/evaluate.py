"""How good a set of probabilities is, on rows whose outcome is known.

Every metric is None where it means nothing (one class only). Definitions and sources: docs/models.md.
"""

from typing import Any

import numpy as np

from ml_assets.frames import FloatArray
from ml_assets.resampling import entity_draws, members

CALIBRATION_BINS = 10
BOOTSTRAP_ROUNDS = 300

Metrics = dict[str, float | None]


def evaluate(probabilities: FloatArray, outcomes: FloatArray) -> Metrics:
    """AUC, average precision, log loss, Brier score, calibration error, lift in the top decile, and counts.

    Both arrays have shape (rows,); probabilities lie strictly between 0 and 1, outcomes are 0.0 or 1.0.
    """
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    counts: Metrics = {"rows": float(len(outcomes)), "outcomes": float(outcomes.sum())}
    both = 0 < outcomes.sum() < len(outcomes)
    if len(outcomes) == 0:
        names = ("auc", "average_precision", "log_loss", "brier", "calibration_error", "lift_top_decile")
        return {**dict.fromkeys(names), **counts}
    return {
        "auc": float(roc_auc_score(outcomes, probabilities)) if both else None,
        "average_precision": float(average_precision_score(outcomes, probabilities)) if both else None,
        "log_loss": float(log_loss(outcomes, probabilities, labels=[0.0, 1.0])),
        "brier": float(brier_score_loss(outcomes, probabilities, labels=[0.0, 1.0])),
        "calibration_error": calibration_error(probabilities, outcomes),
        "lift_top_decile": lift_in_top_decile(probabilities, outcomes),
        **counts,
    }


def calibration_error(probabilities: FloatArray, outcomes: FloatArray) -> float:
    """Expected calibration error over ten bins of equal mass: the mean of |predicted - observed| by rows.

    Equal probabilities always share a bin, so a rule with few distinct values has fewer bins.
    """
    gaps = np.bincount(calibration_bins(probabilities), weights=probabilities - outcomes)
    return float(np.abs(gaps).sum() / len(outcomes))


def calibration_bins(probabilities: FloatArray) -> np.ndarray:
    """Each row's bin, from 0: ten of equal mass, equal probabilities never parted."""
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1], method="lower"))
    return np.searchsorted(edges, probabilities, side="left")


def lift_in_top_decile(probabilities: FloatArray, outcomes: FloatArray) -> float | None:
    """The outcome's share among the tenth with the highest probability, over its share among all.

    Rows that tie at the border count in proportion, so that the order of the rows does not matter.
    """
    rate = outcomes.mean()
    if rate == 0:
        return None
    wanted = max(1, round(len(outcomes) / 10))
    border = np.sort(probabilities)[-wanted]
    above, tied = probabilities > border, probabilities == border
    share_of_tied = (wanted - above.sum()) / tied.sum()
    found = outcomes[above].sum() + share_of_tied * outcomes[tied].sum()
    return float(found / wanted / rate)


def auc_interval(
    probabilities: FloatArray,
    outcomes: FloatArray,
    entities: np.ndarray[Any, Any],
    *,
    seed: int,
    rounds: int = BOOTSTRAP_ROUNDS,
    coverage: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the AUC that resamples entities, not rows.

    `entities` gives each row's entity, shape (rows,). None when there is only one class.
    """
    if not 0 < outcomes.sum() < len(outcomes):
        return None
    order = np.argsort(probabilities, kind="stable")
    ranked, hits, member = probabilities[order], outcomes[order], members(entities)[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    found = (
        _weighted_auc(hits, drawn[member].astype(np.float64), starts) for drawn in entity_draws(member, seed, rounds)
    )
    values = [value for value in found if value is not None]
    if not values:
        return None
    tail = (1 - coverage) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def calibration_intervals(
    probabilities: FloatArray,
    outcomes: FloatArray,
    entities: np.ndarray[Any, Any],
    *,
    seed: int,
    rounds: int = BOOTSTRAP_ROUNDS,
    coverage: float = 0.95,
) -> Metrics:
    """Percentile bootstrap intervals of the Brier score and the calibration error, entities drawn anew.

    The bins stay those of all rows. A drawn calibration error is larger on average than that of all rows, for
    noise adds to every bin's gap, so that its interval leans upwards. None without rows.
    """
    names = ("brier_low", "brier_high", "calibration_error_low", "calibration_error_high")
    if len(outcomes) == 0:
        return dict.fromkeys(names)
    member = members(entities)
    size = int(member.max()) + 1
    bins = calibration_bins(probabilities)
    width = int(bins.max()) + 1
    gaps = np.bincount(member * width + bins, probabilities - outcomes, size * width).reshape(size, width)
    errors = np.bincount(member, (probabilities - outcomes) ** 2, size)
    rows = np.bincount(member, minlength=size)
    drawn = entity_draws(member, seed, rounds)
    found = np.array([(each @ errors / (each @ rows), np.abs(each @ gaps).sum() / (each @ rows)) for each in drawn])
    tail = (1 - coverage) / 2
    low, high = np.quantile(found, [tail, 1 - tail], axis=0).tolist()
    return dict(zip(names, (low[0], high[0], low[1], high[1]), strict=True))


def _weighted_auc(hits: FloatArray, weights: FloatArray, starts: np.ndarray) -> float | None:
    """AUC of rows sorted by probability; `starts` marks where each group of ties begins."""
    positive = np.add.reduceat(hits * weights, starts)
    negative = np.add.reduceat((1 - hits) * weights, starts)
    pairs = positive.sum() * negative.sum()
    if pairs == 0:
        return None
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs)
