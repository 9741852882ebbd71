"""Pure functions on a world's truth: what the best possible model could reach. Reads files, changes none."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Floats = npt.NDArray[np.float64]


def read_truth(home: Path, slug: str) -> pa.Table:
    """The truth of one company: a row per customer and month start, ordered by as_of_date and customer_id."""
    return pq.read_table(home / "truth" / f"{slug}.parquet")


def read_campaign_truth(home: Path, slug: str) -> pa.Table:
    """What campaigns did: a row per campaign and customer of its audience, controls among them, ordered by both.

    `probability_if_sent` and `probability_if_left_alone` are of a paid purchase within 14 days, `effect` is their
    difference, and `bought` what came of it.
    """
    return pq.read_table(home / "truth" / f"{slug}_campaigns.parquet")


def area_under_curve(is_positive: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Area under the ROC curve by mean ranks (Mann and Whitney); NaN where one class is missing."""
    positive = np.asarray(is_positive, dtype=bool)
    _, position, size = np.unique(np.asarray(score, dtype=float), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(size) - (size - 1) / 2)[position]
    hits, misses = int(positive.sum()), int((~positive).sum())
    if not hits or not misses:
        return float("nan")
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


def best_auc(truth: pa.Table) -> float:
    """The AUC of the hidden probability over all rows: no model can be expected to beat it."""
    return area_under_curve(_column(truth, "churned"), _column(truth, "churn_probability"))


def best_auc_by_month(truth: pa.Table) -> dict[str, float]:
    """`best_auc` of each as_of_date, keyed by its ISO form; NaN in months without or with only churners."""
    dates = np.array([day.isoformat() for day in truth["as_of_date"].to_pylist()])
    churned, probability = _column(truth, "churned"), _column(truth, "churn_probability")
    return {str(day): area_under_curve(churned[dates == day], probability[dates == day]) for day in np.unique(dates)}


def calibration(truth: pa.Table, bins: int = 10) -> Floats:
    """Mean probability and share of churners in equally filled bins of the probability; shape (bins, 2)."""
    probability, churned = _column(truth, "churn_probability"), _column(truth, "churned")
    parts = np.array_split(np.argsort(probability, kind="stable"), bins)
    return np.array([[probability[part].mean(), churned[part].mean()] for part in parts])


def _column(truth: pa.Table, name: str) -> Floats:
    return np.asarray(truth[name].to_numpy(), dtype=np.float64)
