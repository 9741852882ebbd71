"""From scores to the rows that are published: risk levels, percentiles, reasons and row hashes."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.explain import write_reasons
from ml_assets.frames import FloatArray, as_of_dates
from ml_assets.model import TrainedModel
from ml_assets.task import Feature, PredictionTask, RiskThresholds

HASHED_REASONS = 3


def risk_levels(probabilities: FloatArray, base_rate: float, thresholds: RiskThresholds) -> npt.NDArray[np.object_]:
    """Low, medium or high, by the odds against those of the base rate (the share in the training data)."""
    odds_ratio = probabilities / (1 - probabilities) / (base_rate / (1 - base_rate))
    levels = np.full(len(probabilities), "low", dtype=object)
    levels[odds_ratio >= thresholds.medium_odds_ratio] = "medium"
    levels[odds_ratio >= thresholds.high_odds_ratio] = "high"
    return levels


def percentiles(probabilities: FloatArray, groups: npt.NDArray[Any]) -> FloatArray:
    """Share of the row's group with a lower probability, ties counting half, in percent: (0, 100)."""
    frame = pd.DataFrame({"group": groups, "probability": probabilities})
    grouped = frame.groupby("group")["probability"]
    rank = grouped.rank(method="average").to_numpy(dtype=np.float64)
    size = grouped.transform("size").to_numpy(dtype=np.float64)
    return np.asarray((rank - 0.5) / size * 100)


def build_score_rows(
    model: TrainedModel,
    frame: pd.DataFrame,
    task: PredictionTask,
    *,
    model_version: str,
    described: Sequence[Feature] = (),
) -> pd.DataFrame:
    """Score a feature matrix and give the rows to publish, in the frame's order.

    `described` are the features in today's words, which the reasons are written with; one that is not among
    them keeps the words it was trained with.

    Columns: company_id, the entity's id, as_of_date, the task's probability, risk_level, percentile (within
    the company and date), baseline_log_odds, reasons (JSON text), model_version, evidence_level, row_hash.
    Raises a `FrameError` for a frame that the model cannot score.
    """
    model.check_frame(frame, task)
    scores = model.score(frame)
    assert scores.contributions is not None  # noqa: S101 - scored with reasons
    reasons = write_reasons(frame, _in_words_of(model, described), scores.contributions.to_numpy())
    levels = risk_levels(scores.probability, model.facts.base_rate, task.risk)
    dates = as_of_dates(frame)
    groups = pd.DataFrame({"company": frame["company_id"].to_numpy(), "date": dates}).groupby(["company", "date"])
    return pd.DataFrame(
        {
            "company_id": frame["company_id"].to_numpy(),
            task.entity_key: frame[task.entity_key].to_numpy(),
            "as_of_date": dates.astype(object),
            task.probability_column: scores.probability,
            "risk_level": levels,
            "percentile": percentiles(scores.probability, groups.ngroup().to_numpy()),
            "baseline_log_odds": scores.baseline_log_odds,
            "reasons": reasons.json,
            "model_version": model_version,
            "evidence_level": model.rung,
            "row_hash": row_hashes(levels, scores.probability, reasons.top),
        }
    )


def _in_words_of(model: TrainedModel, described: Sequence[Feature]) -> list[Feature]:
    words = {feature.name: feature for feature in described}
    return [_reworded(feature, words.get(feature.name, feature)) for feature in model.encoder.features]


def _reworded(feature: Feature, words: Feature) -> Feature:
    return replace(feature, label=words.label, unit=words.unit, family=words.family)


def row_hashes(levels: npt.NDArray[np.object_], probabilities: FloatArray, top: npt.NDArray[np.object_]) -> list[str]:
    """A hash of what a reader would act on: risk level, whole percent, features of the top three reasons."""
    shares = np.round(probabilities * 100).astype(int).tolist()
    leading = top[:, :HASHED_REASONS].tolist()
    return [
        hashlib.blake2b(f"{level}|{share}|{'|'.join(names)}".encode(), digest_size=16).hexdigest()
        for level, share, names in zip(levels.tolist(), shares, leading, strict=True)
    ]
