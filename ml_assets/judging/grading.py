"""How good published scores turned out to be, once their outcomes are known. Frame in, frame out.

The rows of one customer are not independent: intervals of metrics come from resampling customers, and the interval
of a share counts customers, not rows.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import orjson
import pandas as pd

from ml_assets.frames import FloatArray, as_of_dates
from ml_assets.judging import evaluate

ALL = "all"
DECILES = 10
ROUNDS = 200
ROWS_FOR_INTERVALS = 50_000
SLICE = ["as_of_month", "segment", "model_version", "evidence_level"]
_Z95 = 1.959963984540054
_SPLITS: tuple[tuple[str, ...], ...] = ((), ("segment",), ("model_version", "evidence_level"), ("evidence_level",))


@dataclass(frozen=True)
class Interval:
    """A 95 percent interval; both ends None where it means nothing."""

    low: float | None
    high: float | None


def grade(frame: pd.DataFrame, *, seed: int = 0, months: Collection[date] | None = None) -> pd.DataFrame:
    """Grade scores of one company: over all months and by month, each as a whole and by segment, model and rung.

    `frame` has a row per score: entity_id, as_of_date, probability (0 to 1, exclusive), outcome (bool), segment
    (None: not known), model_version, evidence_level. `months` (first days) limits the monthly rows to these.

    Columns: those of SLICE, where as_of_month is None over all months and the others are "all" where not split;
    scores, customers, outcomes; promised (mean probability), kept (share of outcomes) with kept_low and kept_high;
    auc, average_precision and log_loss with _low and _high; brier, calibration_error, lift_top_decile; bins and
    deciles as JSON text. A metric that means nothing (one class only) is None.
    """
    rows = frame.assign(
        as_of_month=as_of_dates(frame).astype("datetime64[M]").astype("datetime64[D]").astype(object),
        segment=frame["segment"].astype(object).where(frame["segment"].notna(), "unknown"),
    )
    graded = [
        {**key, **_grade_slice(part.sort_values(["as_of_date", "entity_id"]), seed)}
        for key, part in _slices(rows, months)
    ]
    return pd.DataFrame(graded)


def grade_as_whole(frame: pd.DataFrame, *, seed: int = 0) -> dict[str, Any]:
    """The figures of `grade` for all rows together, by name. `frame`: entity_id, as_of_date, probability, outcome."""
    return _grade_slice(frame.sort_values(["as_of_date", "entity_id"]), seed)


def _slices(rows: pd.DataFrame, months: Collection[date] | None) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    if rows.empty:
        return
    monthly = [(month, part) for month, part in rows.groupby("as_of_month") if months is None or month in months]
    for month, part in [(None, rows), *monthly]:
        for split in _SPLITS:
            if not split:
                yield _key(month), part
                continue
            for values, group in part.groupby(list(split)):
                yield _key(month, **dict(zip(split, map(str, values), strict=True))), group


def _key(month: Any, **values: str) -> dict[str, Any]:
    return {"as_of_month": month, "segment": ALL, "model_version": ALL, "evidence_level": ALL, **values}


def _grade_slice(rows: pd.DataFrame, seed: int) -> dict[str, Any]:
    probabilities = rows["probability"].to_numpy(dtype=np.float64)
    outcomes = rows["outcome"].to_numpy(dtype=np.float64)
    customers = int(rows["entity_id"].nunique())
    metrics = evaluate.evaluate(probabilities, outcomes, as_of_dates(rows))
    kept = wilson_interval(float(outcomes.mean()), customers)
    intervals = _intervals(rows, seed)
    return {
        "scores": len(rows),
        "customers": customers,
        "outcomes": int(outcomes.sum()),
        "promised": float(probabilities.mean()),
        "kept": float(outcomes.mean()),
        "kept_low": kept.low,
        "kept_high": kept.high,
        **{name: metrics[name] for name in ("brier", "calibration_error", "lift_top_decile")},
        **{
            name + ending: value
            for name in ("auc", "average_precision", "log_loss")
            for ending, value in (
                ("", metrics[name]),
                ("_low", intervals[f"{name}_low"]),
                ("_high", intervals[f"{name}_high"]),
            )
        },
        "bins": orjson.dumps(calibration_bins(rows)).decode(),
        "deciles": orjson.dumps(lift_by_decile(probabilities, outcomes)).decode(),
    }


def calibration_bins(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Ten bins of equal mass, lowest first: bin, scores, promised, kept, kept_low, kept_high.

    Equal probabilities share a bin, as in `evaluate.calibration_error`, so there may be fewer.
    """
    probabilities = rows["probability"].to_numpy(dtype=np.float64)
    grades = []
    for number, (_, part) in enumerate(rows.groupby(evaluate.calibration_bins(probabilities)), start=1):
        kept = float(part["outcome"].mean())
        interval = wilson_interval(kept, int(part["entity_id"].nunique()))
        grades.append(
            {
                "bin": number,
                "scores": len(part),
                "promised": float(part["probability"].mean()),
                "kept": kept,
                "kept_low": interval.low,
                "kept_high": interval.high,
            }
        )
    return grades


def lift_by_decile(probabilities: FloatArray, outcomes: FloatArray) -> list[dict[str, Any]]:
    """Tenths from the highest probability down: decile (1 is the highest), scores, outcomes, lift.

    Lift is the tenth's share of outcomes over that of all; None without outcomes. Rows that tie across a border
    share their outcomes in proportion, so that the order of the rows does not matter; outcomes need not be whole.
    """
    order = np.argsort(-probabilities, kind="stable")
    _, group = np.unique(-probabilities[order], return_inverse=True)
    expected = (np.bincount(group, weights=outcomes[order]) / np.bincount(group))[group]
    rate = float(outcomes.mean())
    return [
        {
            "decile": number,
            "scores": len(part),
            "outcomes": round(float(part.sum()), 6),
            "lift": float(part.mean() / rate) if rate > 0 else None,
        }
        for number, part in enumerate(np.array_split(expected, DECILES), start=1)
        if len(part)
    ]


def wilson_interval(share: float, count: int) -> Interval:
    """Wilson's score interval (1927) of a share seen among `count`, 95 percent."""
    if count == 0:
        return Interval(None, None)
    spread = _Z95**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = _Z95 / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def _intervals(rows: pd.DataFrame, seed: int) -> evaluate.Metrics:
    """The bootstrap's intervals, customers drawn again.

    Of more rows than ROWS_FOR_INTERVALS every n-th date is taken: a customer's rows of neighbouring days are nearly
    the same, and add time but no knowledge.
    """
    dates = np.sort(rows["as_of_date"].unique())
    step = math.ceil(len(rows) / ROWS_FOR_INTERVALS)
    rows = rows[rows["as_of_date"].isin(dates[::step])] if step > 1 else rows
    return evaluate.metric_intervals(
        rows["probability"].to_numpy(dtype=np.float64),
        rows["outcome"].to_numpy(dtype=np.float64),
        rows["entity_id"].to_numpy(),
        as_of_dates(rows),
        seed=seed,
        rounds=ROUNDS,
    )
