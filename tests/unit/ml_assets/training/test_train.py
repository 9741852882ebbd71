"""Training as a whole, on worlds whose truth is known."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_assets.errors import ArtefactError, FeatureMissingError, FrameError, InfiniteValueError, LabelError
from ml_assets.judging.evaluate import evaluate
from ml_assets.model.trained import TrainedModel
from ml_assets.task import Feature, Gate
from ml_assets.training.choosing import judge_gate
from ml_assets.training.lessons import fingerprint
from ml_assets.training.train import TrainingResult, repeat, train, train_rule
from tests.unit.ml_assets.ml_world import CHURN, FEATURES, HORIZON_DAYS, TRAINED_AT, simulate

ARGUMENTS: dict[str, Any] = {"horizon_days": HORIZON_DAYS, "trained_at": TRAINED_AT}
ONE_THREAD: dict[str, Any] = {**ARGUMENTS, "threads": 1}
TASK = replace(CHURN, candidates=("xgboost", "logistic"))
"""Two candidates, where the others would only take time."""


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """A world of 1,000 customers with a signal."""
    return simulate(900, 14, rate=0.09, signal=1.3)


@pytest.fixture(scope="module")
def result(frame: pd.DataFrame) -> TrainingResult:
    """A first training on it, with no champion yet."""
    return train(frame, FEATURES, TASK, **ONE_THREAD)


def test_a_world_with_a_signal_gives_a_model_between_the_rule_and_the_truth(
    frame: pd.DataFrame, result: TrainingResult
) -> None:
    assert (result.status, result.model.rung) == ("promoted", "own_model")
    assert set(result.evaluations) == {"xgboost", "logistic", "rule", "base_rate"}
    chosen = result.evaluations[result.decision["chosen"]]
    test = frame[frame["as_of_date"].astype(str).isin(result.split["test"])]
    truth = evaluate(test["true_probability"].to_numpy(), test["outcome"].to_numpy(dtype=float))
    assert chosen["auc"] is not None
    assert truth["auc"] is not None
    assert result.evaluations["rule"]["auc"] < chosen["auc"] < truth["auc"] + 0.02
    assert chosen["log_loss"] < result.evaluations["base_rate"]["log_loss"]
    assert chosen["calibration_error"] < 0.04
    assert chosen["auc_low"] < chosen["auc"] < chosen["auc_high"]


def test_the_record_of_a_training_is_plain_json(result: TrainingResult) -> None:
    json.dumps([result.decision, result.split, result.evaluations], allow_nan=False)


def test_the_same_frame_in_another_order_gives_the_same_fingerprint(frame: pd.DataFrame) -> None:
    shuffled = frame.sample(frac=1, random_state=1)
    assert fingerprint(shuffled, FEATURES, CHURN) == fingerprint(frame, FEATURES, CHURN)
    changed = frame.copy()
    changed.loc[3, "tenure_days"] += 1
    assert fingerprint(changed, FEATURES, CHURN) != fingerprint(frame, FEATURES, CHURN)


def test_training_twice_gives_the_same_scores(frame: pd.DataFrame, result: TrainingResult) -> None:
    again = train(frame, FEATURES, TASK, **ONE_THREAD)
    assert np.array_equal(again.model.score(frame).probability, result.model.score(frame).probability)
    assert again.model.facts == result.model.facts


@pytest.mark.parametrize("candidates", [("xgboost",), ("logistic",), ("lightgbm",), ("random_forest",)])
def test_a_stored_model_scores_the_same_bits_and_its_parts_add_up(
    frame: pd.DataFrame, candidates: tuple[Any, ...]
) -> None:
    task = replace(CHURN, candidates=candidates)
    model = train(frame, FEATURES, task, **ONE_THREAD).model
    assert model.estimator.kind == candidates[0]
    again = TrainedModel.from_files(model.to_files())
    strange = frame.head(500).copy()
    strange["country"] = "Atlantis"
    strange.loc[::3, "revenue_90d"] = 1e12
    strange.loc[::5, ["tenure_days", "plan", "is_late_payer"]] = None
    ours, theirs = model.score(strange), again.score(strange)
    assert np.array_equal(ours.probability, theirs.probability)
    assert ours.contributions is not None
    assert theirs.contributions is not None
    pd.testing.assert_frame_equal(ours.contributions, theirs.contributions, check_exact=True)
    total = ours.baseline_log_odds + ours.contributions.to_numpy().sum(axis=1)
    assert np.abs(total - np.log(ours.probability / (1 - ours.probability))).max() < 1e-6
    assert (again.facts, again.encoder, again.calibrator) == (model.facts, model.encoder, model.calibrator)
    assert again.level == model.level is not None


def test_scores_are_the_same_with_and_without_reasons(frame: pd.DataFrame, result: TrainingResult) -> None:
    full, quick = result.model.score(frame), result.model.score(frame, explain=False)
    assert np.allclose(full.probability, quick.probability, rtol=0, atol=1e-12)
    assert np.array_equal(full.baseline_log_odds, quick.baseline_log_odds)
    assert quick.contributions is None


def test_each_date_is_scored_at_its_own_level_and_its_parts_add_up(frame: pd.DataFrame, result: TrainingResult) -> None:
    mixed = frame.sample(400, random_state=2)
    scores = result.model.score(mixed)
    assert scores.contributions is not None
    assert len(np.unique(scores.baseline_log_odds)) > 3
    total = scores.baseline_log_odds + scores.contributions.to_numpy().sum(axis=1)
    assert np.abs(total - scores.log_odds).max() < 1e-6
    newest = mixed["as_of_date"] == mixed["as_of_date"].max()
    alone = result.model.score(mixed[newest])
    for name in ("probability", "low", "high", "baseline_log_odds", "customer_odds"):
        assert np.array_equal(getattr(alone, name), getattr(scores, name)[newest.to_numpy()]), name
    pd.testing.assert_frame_equal(alone.contributions, scores.contributions[newest.to_numpy()])


def test_a_champion_that_has_seen_every_test_row_is_judged_by_its_settings_on_the_challengers_rows(
    frame: pd.DataFrame, result: TrainingResult
) -> None:
    again = train(frame, FEATURES, TASK, champion=result.model, **ONE_THREAD)
    compared = again.decision["champion"]
    assert compared["champion_has_seen_these_rows"]
    assert compared["log_loss_gain"] == pytest.approx(0, abs=1e-12)
    assert again.status == "kept_champion"


def test_no_row_after_the_split_touches_what_is_learned(frame: pd.DataFrame, result: TrainingResult) -> None:
    """The test rows' features, turned upside down, change nothing of what is chosen, nor its settings."""
    turned = frame.copy()
    last = turned["as_of_date"].astype(str).isin(result.split["test"])
    turned.loc[last, "days_since_last_payment"] = 999.0
    turned.loc[last, "plan"] = "unheard of"
    again = train(turned, FEATURES, TASK, **ONE_THREAD)
    assert again.decision["selection_log_loss"] == result.decision["selection_log_loss"]
    assert again.decision["settings"] == result.decision["settings"]
    assert again.report["dates"][0] == result.report["dates"][0]


def test_a_world_without_a_signal_has_an_auc_interval_that_contains_one_half() -> None:
    training = train(simulate(1000, 16, rate=0.05, signal=0.0, seed=5), FEATURES, TASK, **ONE_THREAD)
    for candidate in ("xgboost", "logistic", "rule"):
        metrics = training.evaluations[candidate]
        assert metrics["auc_low"] <= 0.5 <= metrics["auc_high"]
    chosen = training.evaluations[training.decision["chosen"]]
    assert abs(chosen["log_loss"] - training.evaluations["base_rate"]["log_loss"]) < 0.01


@pytest.mark.parametrize(("churned", "word"), [(False, "hold fewer"), (True, "hold fewer")])
def test_one_class_only_is_answered_by_the_rule_and_not_by_an_error(churned: bool, word: str) -> None:
    young = simulate(90, 6).assign(outcome=churned)
    training = train(young, FEATURES, TASK, **ONE_THREAD)
    assert (training.status, training.model.rung, training.evaluations) == ("too_few_outcomes", "rule", {})
    assert word in training.decision["reason"]
    probability = training.model.score(young).probability
    assert np.all((probability > 0) & (probability < 1))


def test_a_company_without_one_labelled_row_still_gets_the_rule() -> None:
    new = simulate(30, 1).assign(outcome=None)
    training = train_rule(new, FEATURES, CHURN, feature_version="b.x", **ARGUMENTS)
    assert (training.status, training.counts.rows) == ("too_few_outcomes", 0)
    assert training.model.facts.last_seen_date is None
    assert training.model.facts.feature_version == "b.x"
    json.dumps(training.decision, allow_nan=False)
    assert TrainedModel.from_files(training.model.to_files()).score(new).probability.max() < 0.2


def test_the_same_data_again_keeps_the_champion_and_its_figures_stand_beside(
    frame: pd.DataFrame, result: TrainingResult
) -> None:
    again = train(frame, FEATURES, TASK, champion=result.model, **ONE_THREAD)
    assert again.status == "kept_champion"
    assert again.decision["champion"]["log_loss_gain"] == 0.0
    assert again.decision["champion"]["conditions"]["log loss gain excludes zero"] is False
    assert again.evaluations["champion"]["auc"] == again.evaluations[again.decision["chosen"]]["auc"]


def test_a_better_challenger_replaces_a_champion_that_learned_from_noise(
    frame: pd.DataFrame, result: TrainingResult
) -> None:
    noise = frame.assign(outcome=frame["outcome"].sample(frac=1, random_state=3).to_numpy())
    weak = train(noise, FEATURES, TASK, **ONE_THREAD).model
    training = train(frame, FEATURES, TASK, champion=weak, **ONE_THREAD)
    assert training.status == "promoted"
    assert training.decision["champion"]["log_loss_gain_low"] > 0
    assert all(training.decision["champion"]["conditions"].values())


def test_a_champion_that_learned_from_the_test_dates_is_marked(frame: pd.DataFrame, result: TrainingResult) -> None:
    late = replace(result.model, facts=replace(result.model.facts, last_seen_date="2025-12-01"))
    training = train(frame, FEATURES, TASK, champion=late, **ONE_THREAD)
    assert training.decision["champion"]["champion_has_seen_these_rows"] is True


def test_a_champion_of_other_features_is_replaced_and_the_reason_is_kept(
    frame: pd.DataFrame, result: TrainingResult
) -> None:
    narrower = [feature for feature in FEATURES if feature.name != "open_tickets"]
    training = train(frame.drop(columns="open_tickets"), narrower, TASK, champion=result.model, **ONE_THREAD)
    assert training.status == "promoted"
    assert "open_tickets" in training.decision["champion"]["reason"]


def test_a_champion_of_another_feature_version_is_replaced_though_it_could_score(
    frame: pd.DataFrame, result: TrainingResult
) -> None:
    training = train(frame.assign(feature_version="b.x"), FEATURES, TASK, champion=result.model, **ONE_THREAD)
    assert training.status == "promoted"
    assert training.model.facts.feature_version == "b.x"
    assert "feature version" in training.decision["champion"]["reason"]


def test_a_candidate_that_does_not_pass_the_gate_leaves_the_one_column_rule(frame: pd.DataFrame) -> None:
    strict = replace(TASK, gate=Gate(log_loss_gain=10.0, average_precision_gain=1.0))
    training = train(frame, FEATURES, strict, **ONE_THREAD)
    assert (training.decision["chosen"], training.model.rung) == ("rule", "rule")
    assert training.model.estimator.kind == "one_column_rule"
    assert training.decision["gate"]["passed"] is False


def test_the_gate_opens_by_either_measure_and_not_by_equality() -> None:
    rule = {"log_loss": 0.2, "average_precision": 0.1, "auc_low": 0.6}
    for measure, better in (
        ("log_loss", {"log_loss": 0.19, "average_precision": 0.05}),
        ("average_precision", {"log_loss": 0.3, "average_precision": 0.2}),
    ):
        gate = judge_gate({**rule, **better}, rule, Gate(), is_worse_than_constant=False)
        assert (gate["passed"], gate["passed_by"]) == (True, [measure])
    same = judge_gate(dict(rule), rule, Gate(), is_worse_than_constant=False)
    assert same["passed"] is False
    little = {**rule, "log_loss": 0.19, "average_precision": None}
    assert judge_gate(little, rule, Gate(0.05), is_worse_than_constant=False)["passed"] is False


@pytest.mark.parametrize("auc_low", [0.5, 0.41, None])
def test_the_gate_stays_shut_for_a_candidate_that_may_be_a_coin(auc_low: float | None) -> None:
    rule = {"log_loss": 0.2, "average_precision": 0.1, "auc_low": 0.4}
    candidate = {"log_loss": 0.19, "average_precision": 0.2, "auc_low": auc_low}
    gate = judge_gate(candidate, rule, Gate(), is_worse_than_constant=False)
    assert (gate["passed"], gate["is_told_from_chance"]) == (False, False)


def _less_telling(share: float) -> pd.DataFrame:
    """Behaviour told much, and in the last months of but this share of the customers: who ranks them is too sure."""
    frame = simulate(3000, 14, rate=0.15, signal=4.0, seed=2)
    random = np.random.default_rng(3)
    last = frame["as_of_date"].isin(np.sort(frame["as_of_date"].unique())[-2:])
    by_chance = random.random(len(frame)) < frame.loc[last, "outcome"].mean()
    still_told = random.random(len(frame)) < share
    return frame.assign(outcome=np.where(last & ~still_told, by_chance, frame["outcome"]))


def test_a_good_order_does_not_publish_what_is_surely_worse_than_a_constant() -> None:
    training = train(_less_telling(0.45), FEATURES, TASK, **ONE_THREAD)
    gate = training.decision["gate"]
    assert gate["passed_by"] == ["average_precision"]
    assert gate["is_told_from_chance"]
    assert gate["is_worse_than_constant"]
    assert training.decision["chosen"] == "rule"


def test_a_rule_that_is_surely_worse_than_a_constant_is_the_constant() -> None:
    frame = _less_telling(0.0)
    training = train(frame, FEATURES, TASK, **ONE_THREAD)
    assert training.evaluations["rule"]["log_loss"] == pytest.approx(training.evaluations["base_rate"]["log_loss"])
    scores = training.model.score(frame.head(100))
    assert np.ptp(scores.probability) == 0
    assert scores.contributions is not None
    assert not scores.contributions.to_numpy().any()


def test_where_no_feature_tells_anything_the_rule_publishes() -> None:
    training = train(simulate(600, 12, rate=0.08, signal=0.0, seed=5), FEATURES, TASK, **ONE_THREAD)
    assert (training.decision["chosen"], training.model.rung) == ("rule", "rule")
    assert training.decision["gate"]["passed_by"], "by its gains alone the candidate would have passed"


def test_a_calendar_shorter_than_the_horizon_is_judged_on_other_customers_of_the_same_time() -> None:
    frame = simulate(1500, 6, rate=0.1, seed=3)
    training = train(frame, FEATURES, TASK, **{**ONE_THREAD, "horizon_days": 180})
    assert training.split["mode"] == "by_entity"
    assert "different customers of the same time" in str(training.split["note"])
    assert (training.decision["chosen"] != "rule", training.model.rung) == (True, "own_model")
    evaluation = training.evaluations[training.decision["chosen"]]
    assert (evaluation["auc_low"] or 0) > 0.6
    again = repeat(training.model, training.split, frame, TASK)
    assert (again.score(frame).probability == training.model.score(frame).probability).all()


def test_a_short_history_trains_without_calibration_and_says_so() -> None:
    training = train(simulate(600, 2, rate=0.1), FEATURES, TASK, **ONE_THREAD)
    assert training.split["mode"] == "two_way"
    assert "no calibration dates" in training.model.calibrator.reason
    assert "test rows" in training.decision["candidate_chosen_on"]


def test_rows_without_a_known_label_are_left_out(frame: pd.DataFrame, result: TrainingResult) -> None:
    later = simulate(1000, 1, seed=9).assign(as_of_date=pd.Timestamp("2026-01-01").date(), outcome=None)
    both = pd.concat([frame.astype({"outcome": object}), later], ignore_index=True)
    assert train(both, FEATURES, TASK, **ONE_THREAD).model.facts == result.model.facts


def test_two_companies_with_the_same_customer_names_stay_apart() -> None:
    pool = pd.concat([simulate(300, 12, rate=0.08, seed=seed, company=seed) for seed in (1, 2)], ignore_index=True)
    training = train(pool, FEATURES, TASK, rung="pooled_model", **ONE_THREAD)
    assert training.counts.entities == 600
    assert training.model.rung in ("pooled_model", "rule")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda frame: frame.drop(columns="plan"), FeatureMissingError, "plan"),
        (lambda frame: frame.drop(columns="outcome"), LabelError, "'outcome'"),
        (lambda frame: frame.assign(tenure_days=np.inf), InfiniteValueError, "'tenure_days'"),
        (lambda frame: frame.assign(plan=1), FrameError, "'plan' is a category"),
        (lambda frame: pd.concat([frame, frame]), FrameError, "repeat their key"),
        (lambda frame: frame.assign(outcome="no"), LabelError, "true or false"),
    ],
)
def test_bad_input_is_a_clear_error(frame: pd.DataFrame, change: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train(change(frame), FEATURES, TASK, **ONE_THREAD)


def test_a_horizon_of_no_days_and_no_features_are_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(FrameError, match="at least 1, got 0"):
        train(frame, FEATURES, TASK, horizon_days=0, trained_at=TRAINED_AT)
    no_features: tuple[Feature, ...] = ()
    with pytest.raises(FrameError, match="no features"):
        train(frame, no_features, TASK, **ONE_THREAD)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda files: files.pop("estimator.json"), "damaged or incomplete.*estimator.json"),
        (lambda files: files.update({"model.json": b"{"}), "damaged or incomplete"),
        (
            lambda files: files.update({"model.json": files["model.json"].replace(b'"format": 1', b'"format": 9')}),
            "format 9",
        ),
    ],
)
def test_a_damaged_model_is_a_clear_error(result: TrainingResult, damage: Any, message: str) -> None:
    files = result.model.to_files()
    damage(files)
    with pytest.raises(ArtefactError, match=message):
        TrainedModel.from_files(files)
