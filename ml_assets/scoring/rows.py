"""From scores to the rows that are published: risk levels, percentiles, reasons and row hashes."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd

from foundation.counting import rounded_count
from ml_assets.frames import FloatArray, as_of_dates
from ml_assets.model.curve import write_curves
from ml_assets.model.trained import Scores, TrainedModel
from ml_assets.scoring.reasons import OTHER
from ml_assets.scoring.reasons_json import (
    TOP_REASONS,
    WrittenReasons,
    family_totals,
    write_families,
    write_reasons,
    write_unexplained,
)
from ml_assets.task import ENTITY_ID, PROBABILITY, EvidenceThresholds, Feature, PredictionTask, RiskThresholds

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
    explain: bool = True,
) -> pd.DataFrame:
    """Score a feature matrix and give the rows to publish, in the frame's order.

    `described` are the features in today's words, which the reasons are written with; one that is not among
    them keeps the words it was trained with. Without `explain` a row has one reason, "other", with all of it.

    Columns: company_id, the entity's id, as_of_date, the task's probability, its low and high end (95 percent
    range), risk_level, percentile (within the company and date), baseline_log_odds, reasons (JSON text), families
    (JSON text, a sum of parts per family), model_version, evidence_level, evidence (JSON text), horizon_curve
    (JSON text, see `write_curves`), row_hash.
    Raises a `FrameError` for a frame that the model cannot score.
    """
    model.check_frame(frame, task)
    scores = model.score(frame, explain=explain)
    groups = pd.DataFrame({"company": frame["company_id"].to_numpy(), "date": as_of_dates(frame)})
    places = percentiles(scores.probability, groups.groupby(["company", "date"]).ngroup().to_numpy())
    return score_rows(model, scores, task, places, model_version=model_version, described=described)


def score_rows(
    model: TrainedModel,
    scores: Scores,
    task: PredictionTask,
    places: FloatArray,
    *,
    model_version: str,
    described: Sequence[Feature] = (),
) -> pd.DataFrame:
    """`build_score_rows` for scores made already, with their percentiles (rows,): for work in chunks."""
    frame = scores.frame
    reasons, families = _explained(model, scores, described, task.outcome_noun)
    levels = risk_levels(scores.probability, model.facts.base_rate, task.risk)
    days, day = np.unique(as_of_dates(frame), return_inverse=True)
    return pd.DataFrame(
        {
            "company_id": frame["company_id"].to_numpy(),
            ENTITY_ID: frame[ENTITY_ID].to_numpy(),
            "as_of_date": days.astype(object)[day],
            PROBABILITY: scores.probability,
            "probability_low": scores.low,
            "probability_high": scores.high,
            "risk_level": levels,
            "percentile": places,
            "baseline_log_odds": scores.baseline_log_odds,
            "reasons": reasons.json,
            "families": families,
            "model_version": model_version,
            "evidence_level": model.rung,
            "evidence": evidence_of(model, scores, task.evidence),
            "horizon_curve": _curves(model, scores),
            "row_hash": row_hashes(levels, scores.probability, reasons.top),
        }
    )


def _curves(model: TrainedModel, scores: Scores) -> list[str] | None:
    """None where the shares of the risk were not made."""
    return None if scores.shares is None else write_curves(model.curve, scores.log_odds, scores.shares)


def evidence_of(model: TrainedModel, scores: Scores, thresholds: EvidenceThresholds) -> npt.NDArray[np.object_]:
    """Per row {customers, outcomes, is_thin, grounds} as JSON text: what the model learned from, whether to act on it,
    and in words why it is this model.

    Of a pooled model the counts are the company's own, with {pool_customers, pool_outcomes} rounded: a company is not
    told another's. With {level_dates, is_season_seen} of a model whose level is estimated. A range that is wide for
    the level alone is not thin: all scores of a day would rise or fall together, and their order stands.
    """
    is_thin = scores.customer_odds > thresholds.widest_odds_ratio
    is_thin |= model.facts.outcomes < thresholds.outcomes
    companies, dates = scores.frame["company_id"].to_numpy(), as_of_dates(scores.frame)
    levels = {day: _level_told(model, day.item()) for day in np.unique(dates)}
    texts = np.full(len(companies), "", dtype=object)
    grounds = {"grounds": model.facts.grounds} if model.facts.grounds else {}
    for company, (day, level), thin in product(pd.unique(companies), levels.items(), (False, True)):
        evidence = {**_counts_told(model, str(company)), "is_thin": thin, **level, **grounds}
        texts[(companies == company) & (dates == day) & (is_thin == thin)] = orjson.dumps(evidence).decode()
    return texts


def _level_told(model: TrainedModel, day: date) -> dict[str, int | bool]:
    if model.level is None:
        return {}
    level = model.level.at(day)
    return {"level_dates": level.dates, "is_season_seen": level.is_season_seen}


def _counts_told(model: TrainedModel, company: str) -> dict[str, int]:
    facts = model.facts
    if model.rung != "pooled_model":
        return {"customers": facts.customers, "outcomes": facts.outcomes}
    customers, outcomes = facts.by_company.get(company, (0, 0))
    return {
        "customers": customers,
        "outcomes": outcomes,
        "pool_customers": rounded_count(facts.customers),
        "pool_outcomes": rounded_count(facts.outcomes),
    }


def _explained(
    model: TrainedModel, scores: Scores, described: Sequence[Feature], noun: str
) -> tuple[WrittenReasons, list[str]]:
    if scores.contributions is None:
        totals = scores.log_odds - scores.baseline_log_odds
        return write_unexplained(totals, noun=noun), write_families([OTHER], totals[:, None])
    features, parts = _reworded_features(model, described), scores.contributions.to_numpy()
    families = write_families(*family_totals(features, parts))
    companies = scores.frame["company_id"].to_numpy()
    pieces = {}
    for company in pd.unique(companies) if len(companies) else [None]:
        own = np.flatnonzero(companies == company)
        usual = model.encoder.usual.get(str(company))
        pieces[company] = (own, write_reasons(scores.frame.iloc[own], features, parts[own], usual, noun=noun))
    if len(pieces) == 1:
        return next(iter(pieces.values()))[1], families
    json, top = [""] * len(companies), np.full((len(companies), min(TOP_REASONS, len(features))), "", dtype=object)
    for own, reasons in pieces.values():
        top[own] = reasons.top
        for place, text in zip(own.tolist(), reasons.json, strict=True):
            json[place] = text
    return WrittenReasons(json, top), families


def _reworded_features(model: TrainedModel, described: Sequence[Feature]) -> list[Feature]:
    by_name = {feature.name: feature for feature in described}
    return [_reworded(feature, by_name.get(feature.name, feature)) for feature in model.encoder.features]


def _reworded(feature: Feature, wording: Feature) -> Feature:
    return replace(feature, label=wording.label, unit=wording.unit, family=wording.family)


def row_hashes(
    levels: npt.NDArray[np.object_], probabilities: FloatArray, top: npt.NDArray[np.object_]
) -> npt.NDArray[np.object_]:
    """A hash of what a reader would act on: risk level, whole percent, features of the top three reasons."""
    shares = np.round(probabilities * 100).astype(int)
    if len(shares) == 0:
        return np.zeros(0, dtype=object)
    columns = [levels, shares, *(top[:, place] for place in range(min(HASHED_REASONS, top.shape[1])))]
    kind = np.zeros(len(shares), dtype=np.int64)
    for column in columns:
        codes, distinct = pd.factorize(column)
        kind = kind * len(distinct) + codes
    _, first, kind = np.unique(kind, return_index=True, return_inverse=True)
    hashes = [
        hashlib.blake2b(f"{level}|{share}|{'|'.join(names)}".encode(), digest_size=16).hexdigest()
        for level, share, *names in zip(*(column[first] for column in columns), strict=True)
    ]
    return np.asarray(np.array(hashes, dtype=object)[kind])
