"""Whether a challenger replaces the champion: both judged on the same rows, by intervals that resample entities."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ml_assets.frames import FloatArray
from ml_assets.judging.evaluate import ROUNDS, calibration_bins, calibration_error, log_losses_of
from ml_assets.resampling import entity_draws, members
from ml_assets.task import Promotion

Interval = tuple[float, float]
_ROUNDS_AT_ONCE = 25


@dataclass(frozen=True)
class Judged:
    """Rows that two models are judged on, all of shape (rows,): outcomes 0 or 1, entities, segments (None: none)."""

    outcomes: FloatArray
    entities: np.ndarray
    segments: np.ndarray | None


def judge_promotion(
    ours: FloatArray, theirs: FloatArray, rows: Judged, settings: Promotion, *, beats_rule: bool, seed: int
) -> dict[str, Any]:
    """Every condition with its figures, JSON-ready, and whether all hold; `ours` is the challenger's probability.

    The gain in log loss must have an interval above 0; average precision must not be lower; the calibration error's
    change must not have an interval above its margin; no segment's log loss may be worse by more than its margin; and
    the challenger must have beaten the rule.
    """
    loss_gains = log_losses_of(theirs, rows.outcomes) - log_losses_of(ours, rows.outcomes)
    loss_draws, precision_draws, calibration_draws = [], [], []
    our_gaps, their_gaps = (_gaps(values, rows.outcomes) for values in (ours, theirs))
    for weights in draws(rows.entities, seed):
        loss_draws.append(weights @ loss_gains / weights.sum(axis=1))
        mine, other = (average_precisions(values, rows.outcomes, weights) for values in (ours, theirs))
        precision_draws.append(mine - other)
        change = np.abs(weights @ our_gaps).sum(axis=1) - np.abs(weights @ their_gaps).sum(axis=1)
        calibration_draws.append(change / weights.sum(axis=1))
    loss_interval, precision_interval, calibration_interval = (
        _interval(np.concatenate(values), settings.coverage)
        for values in (loss_draws, precision_draws, calibration_draws)
    )
    once = np.ones((1, len(ours)))
    precision_gain = float(
        average_precisions(ours, rows.outcomes, once)[0] - average_precisions(theirs, rows.outcomes, once)[0]
    )
    calibration = calibration_error(ours, rows.outcomes) - calibration_error(theirs, rows.outcomes)
    segments = _segments(ours, theirs, rows, settings)
    worse = [segment["segment"] for segment in segments if segment["log_loss_change"] > settings.segment_margin]
    conditions = {
        "log loss gain excludes zero": loss_interval[0] > 0,
        "average precision no lower": precision_gain >= 0,
        "calibration no worse": calibration_interval[0] <= settings.calibration_margin,
        "no segment worse": not worse,
        "better than the rule": beats_rule,
    }
    missed = [name for name, holds in conditions.items() if not holds]
    return {
        "promoted": not missed,
        "is_compared": True,
        "reason": "the challenger is better on the same rows" if not missed else f"not met: {', '.join(missed)}",
        "conditions": conditions,
        "log_loss_gain": float(loss_gains.mean()),
        "log_loss_gain_low": loss_interval[0],
        "log_loss_gain_high": loss_interval[1],
        "average_precision_gain": precision_gain,
        "average_precision_gain_low": precision_interval[0],
        "average_precision_gain_high": precision_interval[1],
        "calibration_error_change": float(calibration),
        "calibration_error_change_low": calibration_interval[0],
        "calibration_error_change_high": calibration_interval[1],
        "segments": segments,
        "rows": len(ours),
        "outcomes": int(rows.outcomes.sum()),
    }


def draws(entities: np.ndarray, seed: int, rounds: int = ROUNDS) -> Iterator[FloatArray]:
    """How often each row counts in each round of a bootstrap that draws entities: arrays (some rounds, rows)."""
    member = members(entities)
    drawn = entity_draws(member, seed, rounds)
    while at_once := list(islice(drawn, _ROUNDS_AT_ONCE)):
        yield np.asarray(np.stack(at_once)[:, member], dtype=np.float64)


def average_precisions(probabilities: FloatArray, outcomes: FloatArray, weights: FloatArray) -> FloatArray:
    """scikit-learn's average precision for each row of weights, shape (rounds,); equal probabilities count as one."""
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    hits = np.cumsum(weights[:, order] * outcomes[order], axis=1)[:, ends]
    seen = np.cumsum(weights[:, order], axis=1)[:, ends]
    gained = np.diff(hits, axis=1, prepend=0.0)
    total = np.maximum(hits[:, -1], 1e-12)
    return np.asarray((gained * hits / np.maximum(seen, 1e-12)).sum(axis=1) / total)


def paired_loss_interval(
    ours: FloatArray, theirs: FloatArray, outcomes: FloatArray, entities: np.ndarray, *, seed: int
) -> tuple[float, float, float]:
    """Mean of (their log loss - our log loss), and its 95 percent interval."""
    gains = log_losses_of(theirs, outcomes) - log_losses_of(ours, outcomes)
    member = members(entities)
    sums = np.column_stack([np.bincount(member, gains), np.bincount(member)])
    gained, counted = np.array([drawn @ sums for drawn in entity_draws(member, seed, ROUNDS)]).T
    low, high = _interval(gained / counted, 0.95)
    return float(gains.mean()), low, high


def _gaps(probabilities: FloatArray, outcomes: FloatArray) -> FloatArray:
    """Each row's (probability - outcome) in the column of its bin, so that weights times it are the bins' gaps."""
    bins = calibration_bins(probabilities)
    gaps = np.zeros((len(bins), int(bins.max()) + 1))
    gaps[np.arange(len(bins)), bins] = probabilities - outcomes
    return gaps


def _segments(ours: FloatArray, theirs: FloatArray, rows: Judged, settings: Promotion) -> list[dict[str, Any]]:
    if rows.segments is None:
        return []
    mine, other = log_losses_of(ours, rows.outcomes), log_losses_of(theirs, rows.outcomes)
    comparisons = []
    for segment in sorted({str(value) for value in rows.segments if value is not None}):
        inside = rows.segments == segment
        outcomes = int(rows.outcomes[inside].sum())
        if min(outcomes, int(inside.sum()) - outcomes) < settings.segment_outcomes:
            continue
        comparisons.append(
            {
                "segment": segment,
                "rows": int(inside.sum()),
                "outcomes": outcomes,
                "log_loss_change": float(mine[inside].mean() / other[inside].mean() - 1.0),
            }
        )
    return comparisons


def _interval(values: FloatArray, coverage: float) -> Interval:
    tail = (1 - coverage) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
