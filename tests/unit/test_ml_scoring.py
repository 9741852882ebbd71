"""The rows that are published."""

import json
from datetime import date

import numpy as np
import pandas as pd
import pytest

from ml_assets.errors import DuplicateRowError, FeatureMissingError, FeatureVersionError, FrameError
from ml_assets.model import TrainedModel
from ml_assets.scoring import build_score_rows, percentiles, risk_levels, row_hashes
from ml_assets.task import CHURN, RiskThresholds
from ml_assets.train import fit_rule, train
from tests.unit.ml_world import FEATURES, HORIZON_DAYS, TRAINED_AT, simulate

COLUMNS = [
    "company_id",
    "customer_id",
    "as_of_date",
    "churn_probability",
    "risk_level",
    "percentile",
    "baseline_log_odds",
    "reasons",
    "model_version",
    "evidence_level",
    "row_hash",
]


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    """A model of a small world."""
    return train(
        simulate(500, 10, rate=0.1), FEATURES, CHURN, horizon_days=HORIZON_DAYS, trained_at=TRAINED_AT, threads=1
    ).model


@pytest.fixture(scope="module")
def rows(model: TrainedModel) -> pd.DataFrame:
    """Its published rows for two companies."""
    matrix = pd.concat([simulate(200, 1, seed=seed, company=seed) for seed in (1, 2)], ignore_index=True)
    return build_score_rows(model, matrix, CHURN, model_version="churn-acme v3")


def test_the_columns_are_those_of_the_contract(rows: pd.DataFrame) -> None:
    assert list(rows.columns) == COLUMNS
    assert rows.notna().all().all()
    assert set(rows["risk_level"]) <= {"low", "medium", "high"}
    assert rows["as_of_date"].iloc[0] == date(2025, 12, 1)
    assert rows["percentile"].between(0, 100).all()
    assert set(rows["model_version"]) == {"churn-acme v3"}


def test_the_reasons_add_up_to_the_published_probability_for_every_row(rows: pd.DataFrame) -> None:
    for row in rows.itertuples():
        total = row.baseline_log_odds + sum(reason["contribution"] for reason in json.loads(row.reasons))
        assert total == pytest.approx(np.log(row.churn_probability / (1 - row.churn_probability)), abs=1e-6)


def test_rows_keep_the_frames_order_whatever_its_index(model: TrainedModel) -> None:
    matrix = simulate(50, 1)
    straight = build_score_rows(model, matrix, CHURN, model_version="v")
    turned = build_score_rows(model, matrix.iloc[::-1], CHURN, model_version="v")
    pd.testing.assert_frame_equal(turned.iloc[::-1].reset_index(drop=True), straight)


def test_no_rows_to_score_give_no_rows(model: TrainedModel) -> None:
    assert list(build_score_rows(model, simulate(5, 1).iloc[:0], CHURN, model_version="v").columns) == COLUMNS


def test_the_rule_publishes_in_the_same_form_and_says_what_it_is() -> None:
    young = simulate(40, 3).assign(is_churned=False)
    rule = fit_rule(young, FEATURES, CHURN, horizon_days=HORIZON_DAYS, trained_at=TRAINED_AT)
    rows = build_score_rows(rule, simulate(40, 1), CHURN, model_version="v")
    assert set(rows["evidence_level"]) == {"rule"}
    assert json.loads(rows["reasons"].iloc[0])[0]["feature"] == "days_since_last_payment"


def test_risk_is_judged_by_odds_against_the_base_rates_odds() -> None:
    """Odds of 0.05 are 1 to 19; thresholds of 1.5 and 3 are 1.5 to 19 and 3 to 19."""
    exact = np.array([0.05, 1.49 / 20.49, 1.51 / 20.51, 2.99 / 21.99, 3.01 / 22.01])
    levels = risk_levels(exact, 0.05, RiskThresholds(1.5, 3.0))
    assert levels.tolist() == ["low", "low", "medium", "medium", "high"]
    assert risk_levels(np.array([0.6]), 0.4, RiskThresholds()).tolist() == ["medium"]


def test_a_percentile_is_the_share_below_within_the_own_company() -> None:
    found = percentiles(np.array([0.1, 0.2, 0.2, 0.9, 0.5]), np.array([1, 1, 1, 1, 2]))
    assert found.tolist() == [12.5, 50.0, 50.0, 87.5, 50.0]


def test_the_hash_changes_with_level_whole_percent_and_leading_reasons_only() -> None:
    top = np.array([["a", "b", "c", "d", "e"]], dtype=object)
    low = np.array(["low"], dtype=object)
    base = row_hashes(low, np.array([0.1234]), top)
    assert row_hashes(low, np.array([0.1199]), top) == base
    assert row_hashes(low, np.array([0.1234]), np.array([["a", "b", "c", "x", "y"]], dtype=object)) == base
    assert row_hashes(low, np.array([0.134]), top) != base
    assert row_hashes(np.array(["high"], dtype=object), np.array([0.1234]), top) != base
    assert row_hashes(low, np.array([0.1234]), top[:, ::-1]) != base


def test_a_frame_that_must_not_be_published_is_refused(model: TrainedModel) -> None:
    matrix = simulate(20, 1)
    with pytest.raises(DuplicateRowError):
        build_score_rows(model, pd.concat([matrix, matrix]), CHURN, model_version="v")
    with pytest.raises(FeatureMissingError, match="tenure_days"):
        build_score_rows(model, matrix.drop(columns="tenure_days"), CHURN, model_version="v")
    other = TrainedModel(**{**model.__dict__, "task_name": "cart"})
    with pytest.raises(FrameError, match="a model of task 'cart' cannot score task 'churn'"):
        build_score_rows(other, matrix, CHURN, model_version="v")


def test_features_of_another_version_are_not_scored(model: TrainedModel) -> None:
    matrix = simulate(20, 1).assign(feature_version="b.x")
    with pytest.raises(FeatureVersionError, match=r"\(not recorded\).*train anew"):
        build_score_rows(model, matrix, CHURN, model_version="churn-acme v3")
