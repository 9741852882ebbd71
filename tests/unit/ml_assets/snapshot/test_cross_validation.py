"""Each row's score is by models that have not seen its customer, and every figure is scikit-learn's."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from ml_assets.model.explain import bound_log_odds
from ml_assets.snapshot.cross_validation import FOLDS, CrossValidation, SnapshotRows, cross_validate, grouped_folds
from ml_assets.task import Feature

FEATURES = [
    Feature("c0", "tenure", "", "columns", "number"),
    Feature("c1", "plan", "", "columns", "category"),
    Feature("c2", "is new", "", "columns", "flag"),
]


def rows(count: int = 500, *, per_customer: int = 1, signal: float = 1.0, seed: int = 5) -> SnapshotRows:
    random = np.random.default_rng(seed)
    tenure, plan = random.normal(0, 1, count), random.choice(["a", "b", "c"], count)
    log_odds = -1 + signal * (1.2 * tenure + (plan == "a"))
    outcomes = (random.random(count) < 1 / (1 + np.exp(-log_odds))).astype(np.float64)
    frame = pd.DataFrame({"c0": tenure, "c1": plan, "c2": random.random(count) < 0.5})
    return SnapshotRows(frame, outcomes, np.arange(count) // per_customer)


@cache
def validated() -> CrossValidation:
    return cross_validate(rows(), FEATURES, ("logistic", "random_forest", "xgboost", "lightgbm", "blend"))


@pytest.mark.parametrize("name", ["logistic", "random_forest", "xgboost", "lightgbm", "blend"])
def test_every_measure_is_scikit_learns_on_the_same_rows(name: str) -> None:
    candidate, outcomes = validated().candidates[name], validated().rows.outcomes

    theirs = {
        "auc": roc_auc_score(outcomes, candidate.probabilities),
        "average_precision": average_precision_score(outcomes, candidate.probabilities),
        "log_loss": log_loss(outcomes, candidate.probabilities),
        "brier": brier_score_loss(outcomes, candidate.probabilities),
    }

    assert {measure: candidate.metrics[measure] for measure in theirs} == pytest.approx(theirs, rel=1e-9)


def test_the_candidates_learn_what_is_there() -> None:
    assert not validated().failed
    assert all((candidate.metrics["auc"] or 0) > 0.7 for candidate in validated().candidates.values())
    assert validated().is_told_from_chance


def test_a_rows_outcome_does_not_move_its_own_margin() -> None:
    before = rows(per_customer=2)
    folds = before.folds
    turned = np.where(folds == 0, 1 - before.outcomes, before.outcomes)
    after = SnapshotRows(before.frame, turned, before.customers)
    after.__dict__["folds"] = folds

    margins = [cross_validate(each, FEATURES, ["logistic"]).candidates["logistic"].margins for each in (before, after)]

    assert np.array_equal(margins[0][folds == 0], margins[1][folds == 0])
    assert not np.array_equal(margins[0][folds == 1], margins[1][folds == 1])


def test_contributions_add_up_to_the_published_log_odds() -> None:
    validation = validated()
    best = validation.best
    for fold, (model, calibrator) in enumerate(zip(best.models, best.calibrators, strict=True)):
        judged = validation.rows.folds == fold
        _, bias = model.parts(validation.rows.frame[judged], len(FEATURES))
        baseline = bound_log_odds(calibrator.log_odds(np.array([bias])))[0]
        total = baseline + validation.contributions[judged].sum(axis=1)
        assert total == pytest.approx(bound_log_odds(best.log_odds[judged]), abs=1e-9)


def test_without_signal_nothing_is_told_from_chance() -> None:
    told = [
        cross_validate(rows(400, signal=0.0, seed=seed), FEATURES, ("logistic", "lightgbm")).is_told_from_chance
        for seed in range(6)
    ]

    assert not any(told)


@settings(max_examples=30, deadline=None)
@given(per_customer=st.integers(1, 7), count=st.integers(60, 300), seed=st.integers(0, 100))
def test_a_customer_stands_in_one_fold_whatever_the_number_of_rows(per_customer: int, count: int, seed: int) -> None:
    outcomes = (np.random.default_rng(seed).random(count) < 0.4).astype(np.float64)
    customers = np.random.default_rng(seed).permutation(count) // per_customer

    folds = grouped_folds(outcomes, customers, FOLDS)

    by_customer = pd.Series(folds).groupby(customers).nunique()
    assert (by_customer == 1).all()
    assert set(folds) <= set(range(FOLDS))
