"""The rows that are published."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from ml_assets.errors import (
    AttributionError,
    DuplicateRowError,
    FeatureMissingError,
    FeatureTypeError,
    FeatureVersionError,
    FrameError,
    InfiniteValueError,
)
from ml_assets.model.trained import TrainedModel
from ml_assets.scoring.rows import build_score_rows, percentiles, risk_levels, row_hashes
from ml_assets.task import RiskThresholds
from ml_assets.training.train import fit_rule, train
from tests.unit.ml_assets.ml_world import CHURN, FEATURES, HORIZON_DAYS, TRAINED_AT, simulate

COLUMNS = [
    "company_id",
    "entity_id",
    "as_of_date",
    "probability",
    "probability_low",
    "probability_high",
    "risk_level",
    "percentile",
    "baseline_log_odds",
    "reasons",
    "families",
    "model_version",
    "evidence_level",
    "evidence",
    "horizon_curve",
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
        assert total == pytest.approx(np.log(row.probability / (1 - row.probability)), abs=1e-6)


def test_so_do_the_families_and_the_probability_lies_in_its_range(rows: pd.DataFrame) -> None:
    for row in rows.itertuples():
        total = row.baseline_log_odds + sum(json.loads(row.families).values())
        assert total == pytest.approx(np.log(row.probability / (1 - row.probability)), abs=1e-6)
        assert 0 < row.probability_low < row.probability < row.probability_high < 1


def test_evidence_counts_what_the_model_learned_from_and_says_when_it_is_thin(model: TrainedModel) -> None:
    assert 30 < model.facts.outcomes < model.facts.customers <= 500
    sure = json.loads(build_score_rows(model, simulate(20, 1), CHURN, model_version="v")["evidence"].iloc[0])
    counts = {"customers": model.facts.customers, "outcomes": model.facts.outcomes, "is_thin": False}
    assert model.level is not None
    told = model.level.at(date(2025, 12, 1))
    assert sure == {**counts, "level_dates": told.dates, "is_season_seen": told.is_season_seen}
    assert told.dates > 5
    few = replace(model, facts=replace(model.facts, outcomes=29))
    wide = replace(model, calibrator=replace(model.calibrator, covariance=None))
    for thin in (few, wide):
        rows = build_score_rows(thin, simulate(20, 1), CHURN, model_version="v")
        assert all(json.loads(text)["is_thin"] for text in rows["evidence"])


TO_LAST_DIGITS = ("reasons", "families", "row_hash", "probability", "horizon_curve")


def test_scores_without_reasons_are_the_same_scores_and_still_add_up(model: TrainedModel) -> None:
    matrix = simulate(60, 1)
    with_them, without = (
        build_score_rows(model, matrix, CHURN, model_version="v", explain=explain) for explain in (True, False)
    )
    same = [name for name in COLUMNS if name not in TO_LAST_DIGITS]
    pd.testing.assert_frame_equal(with_them[same], without[same])
    assert with_them["probability"].to_numpy() == pytest.approx(without["probability"].to_numpy(), abs=1e-9)
    for rows in (with_them, without):
        curves = [json.loads(text)["within"][str(HORIZON_DAYS)] for text in rows["horizon_curve"]]
        assert curves == rows["probability"].tolist()
    for row in without.itertuples():
        (reason,) = json.loads(row.reasons)
        total = row.baseline_log_odds + reason["contribution"]
        assert total == pytest.approx(np.log(row.probability / (1 - row.probability)), abs=1e-6)


def test_a_reason_compares_with_what_is_usual_in_its_own_company(model: TrainedModel) -> None:
    usual = {"1": {**model.encoder.usual["1"], "plan": "pro"}, "2": {"plan": "basic"}}
    known = replace(model, encoder=replace(model.encoder, usual=usual))
    matrix = pd.concat([simulate(200, 1, seed=seed, company=seed) for seed in (1, 2, 3)], ignore_index=True)
    rows = build_score_rows(known, matrix, CHURN, model_version="v")
    said: dict[int, set[str]] = {1: set(), 2: set(), 3: set()}
    for company, text in zip(rows["company_id"], rows["reasons"], strict=True):
        said[company] |= {reason["text"].split(" (")[0] for reason in json.loads(text) if reason["feature"] == "plan"}
    assert "Plan: basic, usually pro" in said[1]
    assert "Plan: basic, as usual" in said[2]
    assert "Plan: basic" in said[3]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"tenure_days": np.inf}, InfiniteValueError, "'tenure_days' is infinite in 20 of 20 rows"),
        ({"tenure_days": "long"}, FeatureTypeError, "'tenure_days' is a number and must hold numbers"),
        ({"plan": 3}, FeatureTypeError, "'plan' is a category and must hold texts"),
        ({"is_late_payer": 7}, FeatureTypeError, "'is_late_payer' is a flag, and holds 7"),
    ],
)
def test_values_that_the_model_cannot_read_stop_scoring_and_name_the_feature(
    model: TrainedModel, change: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build_score_rows(model, simulate(20, 1).assign(**change), CHURN, model_version="v")


def test_a_score_that_is_no_number_is_never_published(model: TrainedModel) -> None:
    with pytest.raises(AttributionError, match="1 of 2 scores are no numbers"):
        model.publish(simulate(2, 1), np.array([0.1, np.nan]))


def test_rows_keep_the_frames_order_whatever_its_index(model: TrainedModel) -> None:
    matrix = simulate(50, 1)
    straight = build_score_rows(model, matrix, CHURN, model_version="v")
    turned = build_score_rows(model, matrix.iloc[::-1], CHURN, model_version="v")
    pd.testing.assert_frame_equal(turned.iloc[::-1].reset_index(drop=True), straight)


def test_no_rows_to_score_give_no_rows(model: TrainedModel) -> None:
    assert list(build_score_rows(model, simulate(5, 1).iloc[:0], CHURN, model_version="v").columns) == COLUMNS


def test_the_rule_publishes_in_the_same_form_and_says_what_it_is() -> None:
    young = simulate(40, 3).assign(outcome=False)
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
    ranks = percentiles(np.array([0.1, 0.2, 0.2, 0.9, 0.5]), np.array([1, 1, 1, 1, 2]))
    assert ranks.tolist() == [12.5, 50.0, 50.0, 87.5, 50.0]


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
    other = replace(model, task_name="cart")
    with pytest.raises(FrameError, match="a model of task 'cart' cannot score task 'churn'"):
        build_score_rows(other, matrix, CHURN, model_version="v")


def test_features_of_another_version_are_not_scored(model: TrainedModel) -> None:
    matrix = simulate(20, 1).assign(feature_version="b.x")
    with pytest.raises(FeatureVersionError, match=r"\(not recorded\).*churn run"):
        build_score_rows(model, matrix, CHURN, model_version="churn-acme v3")
