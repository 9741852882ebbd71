"""What a model card shows besides the metrics: by segment, promised against kept, lift, and what drives the scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml_assets.frames import DateArray, FloatArray
from ml_assets.judging.evaluate import evaluate, metric_intervals
from ml_assets.judging.grading import wilson_interval
from ml_assets.task import Feature

BINS = 10
TOP_DRIVERS = 15
_SMALLEST_SEGMENT = 10


def describe_model(
    probabilities: FloatArray,
    outcomes: FloatArray,
    entities: np.ndarray,
    dates: DateArray | None,
    segments: np.ndarray | None,
    parts: FloatArray,
    features: Sequence[Feature],
    *,
    seed: int,
) -> dict[str, Any]:
    """JSON-ready: segments, calibration, lift and drivers on judged rows.

    probabilities, outcomes, entities, dates (None: a snapshot has none) and segments (None: the task has none) have
    shape (rows,); parts (some rows, features) are contributions to the log-odds.
    """
    return {
        "segments": _by_segment(probabilities, outcomes, entities, dates, segments, seed),
        "calibration": _bins(probabilities, outcomes),
        "lift": _lift(probabilities, outcomes),
        "drivers": _drivers(parts, features),
    }


def _by_segment(
    probabilities: FloatArray,
    outcomes: FloatArray,
    entities: np.ndarray,
    dates: DateArray | None,
    segments: np.ndarray | None,
    seed: int,
) -> list[dict[str, Any]]:
    if segments is None:
        return []
    segment_metrics = []
    for segment in sorted({str(value) for value in segments if value is not None}):
        inside = segments == segment
        own, happened, days = probabilities[inside], outcomes[inside], None if dates is None else dates[inside]
        metrics = evaluate(own, happened, days)
        both = min(happened.sum(), (1 - happened).sum()) >= _SMALLEST_SEGMENT
        intervals = metric_intervals(own, happened, entities[inside], days, seed=seed) if both else {}
        segment_metrics.append(
            {
                "segment": segment,
                **metrics,
                "auc": metrics["auc"] if both else None,
                "auc_low": intervals.get("auc_low"),
                "auc_high": intervals.get("auc_high"),
                "promised": float(own.mean()),
                "kept": float(happened.mean()),
            }
        )
    return segment_metrics


def _bins(probabilities: FloatArray, outcomes: FloatArray) -> list[dict[str, Any]]:
    """Ten bins of equal mass with the mean promise, the share that came true, and its 95 percent Wilson interval."""
    bins = []
    for rows in np.array_split(np.argsort(probabilities, kind="stable"), BINS):
        if len(rows) == 0:
            continue
        kept = int(outcomes[rows].sum())
        interval = wilson_interval(kept / len(rows), len(rows))
        bins.append(
            {
                "rows": len(rows),
                "promised": float(probabilities[rows].mean()),
                "kept": kept / len(rows),
                "kept_low": interval.low,
                "kept_high": interval.high,
            }
        )
    return bins


def _lift(probabilities: FloatArray, outcomes: FloatArray) -> list[dict[str, Any]]:
    """By tenth, the highest probabilities first: the outcome's share over its share in all."""
    rate = max(float(outcomes.mean()), 1e-12)
    tenths = np.array_split(np.argsort(-probabilities, kind="stable"), BINS)
    return [
        {
            "tenth": number,
            "rows": len(rows),
            "outcomes": int(outcomes[rows].sum()),
            "lift": float(outcomes[rows].mean() / rate),
        }
        for number, rows in enumerate(tenths, 1)
        if len(rows)
    ]


def _drivers(parts: FloatArray, features: Sequence[Feature]) -> list[dict[str, Any]]:
    """The features with the largest mean |part|, as shares of all of them together."""
    sizes = np.abs(parts).mean(axis=0)
    total = float(sizes.sum()) or 1.0
    order = sorted(range(len(features)), key=lambda position: (-sizes[position], features[position].name))
    return [
        {
            "feature": features[position].name,
            "label": features[position].label,
            "family": features[position].family,
            "share": float(sizes[position] / total),
        }
        for position in order[:TOP_DRIVERS]
        if sizes[position] > 0
    ]
