"""Which features a model learns from where outcomes are few for the features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.metrics import roc_auc_score

from ml_assets.estimators.base import FitRows
from ml_assets.estimators.logistic import fit_logistic
from ml_assets.frames import FeatureEncoder
from ml_assets.task import Feature
from ml_assets.training.feature_selection import select_features

NUMBERS = tuple(Feature(f"number_{place}", "A number", "", "", "number") for place in range(80))
PLANS = Feature("plan", "Plan", "", "", "category")
TELLING = (0, 1, 2, 80)


def rows_of(count: int, seed: int = 1) -> FitRows:
    """Three numbers and a category tell of the outcome, 77 numbers do not; 8 percent have it."""
    chance = np.random.default_rng(seed)
    numbers, plan = chance.normal(size=(count, 80)), chance.integers(0, 3, count).astype(float)
    numbers[chance.random(numbers.shape) < 0.05] = np.nan
    log_odds = -3 + np.nan_to_num(numbers[:, :3]) @ [0.9, -0.9, 0.7] + 1.2 * (plan == 2)
    outcomes = (chance.random(count) < 1 / (1 + np.exp(-log_odds))).astype(float)
    is_early = np.arange(count) < 0.7 * count
    encoder = FeatureEncoder((*NUMBERS, PLANS), {"plan": ("basic", "pro", "team")})
    matrix = np.asfortranarray(np.column_stack([numbers, plan]))
    return FitRows(matrix, outcomes, encoder, (is_early, ~is_early), 7, 1)


def test_features_that_tell_nothing_are_left_out_where_outcomes_are_few() -> None:
    rows = rows_of(2_000)
    selection = select_features(rows)
    assert selection.strength is not None
    assert set(TELLING) <= set(selection.kept.tolist())
    assert len(selection.kept) < 20
    record = selection.record(rows.encoder.features)
    assert record["kept"] == len(selection.kept)
    assert len(record["left_out"]) == 81 - len(selection.kept)
    assert "plan" not in record["left_out"]


def test_what_is_left_foretells_better_than_everything() -> None:
    rows, later = rows_of(2_000), rows_of(4_000, seed=2)
    kept = select_features(rows).kept
    narrow = replace(rows, matrix=rows.matrix[:, kept], encoder=rows.encoder.narrowed(kept))
    few = roc_auc_score(later.outcomes, fit_logistic(narrow).margins(later.matrix[:, kept]))
    everything = roc_auc_score(later.outcomes, fit_logistic(rows).margins(later.matrix))
    assert few > everything + 0.01


def test_with_many_outcomes_or_with_nothing_to_choose_by_all_features_stay() -> None:
    many, few = rows_of(15_000), rows_of(100)
    assert many.outcomes.sum() >= 810
    for rows in (many, replace(few, matrix=np.zeros_like(few.matrix))):
        selection = select_features(rows)
        assert selection.strength is None
        assert selection.kept.tolist() == list(range(81))
        assert selection.record(rows.encoder.features)["left_out"] == []


def test_an_encoder_that_was_narrowed_knows_only_what_is_left() -> None:
    encoder = FeatureEncoder((*NUMBERS[:2], PLANS), {"plan": ("basic",)}, {"1": {"number_0": 1.0, "plan": "basic"}})
    narrowed = encoder.narrowed(np.array([0]))
    assert narrowed == FeatureEncoder(NUMBERS[:1], {}, {"1": {"number_0": 1.0}})
    assert encoder.narrowed(np.array([0, 1, 2])) == encoder
