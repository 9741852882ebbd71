"""All candidates together: the search, one that fails, repeating a record, and the rule of promotion."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import optuna
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from ml_assets.errors import TrainingChangedError
from ml_assets.estimators import candidates
from ml_assets.estimators.base import Estimator, FitRows
from ml_assets.estimators.candidates import fit_candidate
from ml_assets.frames import FeatureEncoder
from ml_assets.model.calibrate import fit_calibrator, grown, identity
from ml_assets.task import Promotion, TaskError
from ml_assets.training import last_fit, lessons, search
from ml_assets.training.choosing import Candidate, _CalibrationRows, _pick_near
from ml_assets.training.feature_selection import Selection
from ml_assets.training.promotion import Judged, average_precisions, judge_promotion
from ml_assets.training.search import SearchBudget
from ml_assets.training.splits import rolling_folds
from ml_assets.training.train import TrainingResult, repeat, train
from tests.unit.ml_assets.ml_world import CHURN, FEATURES, HORIZON_DAYS, TRAINED_AT, simulate

ARGUMENTS: dict[str, Any] = {"horizon_days": HORIZON_DAYS, "trained_at": TRAINED_AT, "threads": 1}
TASK = replace(CHURN, segment_feature="plan")
QUICK = replace(TASK, candidates=("logistic", "xgboost"))


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return simulate(500, 12, rate=0.09, signal=1.3)


@pytest.fixture(scope="module")
def result(frame: pd.DataFrame) -> TrainingResult:
    """Every candidate, none searched."""
    return train(frame, FEATURES, TASK, **ARGUMENTS)


def test_every_candidate_is_judged_on_the_same_rows_with_intervals(result: TrainingResult) -> None:
    assert set(result.evaluations) == {*TASK.candidates, "rule", "base_rate"}
    assert result.decision["failed"] == {}
    assert len({result.evaluations[name]["rows"] for name in TASK.candidates}) == 1
    for name in TASK.candidates:
        metrics = result.evaluations[name]
        for metric in ("auc", "log_loss", "brier", "average_precision"):
            assert metrics[f"{metric}_low"] <= metrics[metric] <= metrics[f"{metric}_high"]
    json.dumps([result.decision, result.report], allow_nan=False)


def test_the_report_holds_what_a_model_card_shows(result: TrainingResult) -> None:
    report = result.report
    assert {segment["segment"] for segment in report["segments"]} == {"basic", "plus", "pro"}
    assert sum(band["rows"] for band in report["calibration"]) == result.evaluations["rule"]["rows"]
    assert sum(tenth["outcomes"] for tenth in report["lift"]) == result.evaluations["rule"]["outcomes"]
    assert report["lift"][0]["lift"] > 1 > report["lift"][-1]["lift"]
    assert 0 < sum(driver["share"] for driver in report["drivers"]) <= 1 + 1e-9


def test_a_candidate_that_fails_is_named_and_stops_no_other(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise MemoryError("no room for trees")

    monkeypatch.setitem(candidates._FITTERS, "xgboost", broken)
    task = replace(TASK, candidates=("logistic", "xgboost", "blend"))
    training = train(frame, FEATURES, task, **ARGUMENTS)
    assert training.decision["failed"]["xgboost"] == "MemoryError: no room for trees"
    assert "without xgboost" in training.decision["failed"]["blend"]
    assert training.decision["chosen"] == "logistic"
    monkeypatch.setitem(candidates._FITTERS, "logistic", broken)
    training = train(frame, FEATURES, task, **ARGUMENTS)
    assert (training.model.rung, training.decision["chosen"]) == ("rule", "rule")


@pytest.mark.parametrize("kinds", [("logistic",), ("logistic", "xgboost", "blend"), ("lightgbm",)])
def test_a_recorded_model_is_repeated_bit_for_bit(frame: pd.DataFrame, kinds: tuple[Any, ...]) -> None:
    task = replace(TASK, candidates=kinds)
    first = train(frame, FEATURES, task, **ARGUMENTS)
    stored = type(first.model).from_files(first.model.to_files())
    split = json.loads(json.dumps(first.split))
    again = repeat(stored, split, frame.sample(frac=1, random_state=3).sort_index(), task)
    assert np.array_equal(again.score(frame).probability, first.model.score(frame).probability)
    changed = frame.copy()
    changed.loc[0, "tenure_days"] += 1
    with pytest.raises(TrainingChangedError, match="churn train --company SLUG"):
        repeat(stored, split, changed, task)


def test_what_publishes_has_learned_from_every_date_and_its_slope_is_of_a_fit_that_had_not(frame: pd.DataFrame) -> None:
    training = train(frame, FEATURES, replace(TASK, candidates=("logistic",)), **ARGUMENTS)
    days = pd.to_datetime(frame["as_of_date"]).dt.strftime("%Y-%m-%d")
    fit, calibrate = (days.isin(training.split[part]).to_numpy() for part in ("fit", "calibrate"))  # type: ignore[arg-type]
    outcomes = frame["outcome"].to_numpy(dtype=float)

    def fitted(learned: np.ndarray) -> tuple[Estimator, np.ndarray]:
        encoder = FeatureEncoder.fit(frame[learned], training.model.encoder.features)
        matrix = encoder.encode(frame)
        rows = FitRows(matrix[learned], outcomes[learned], encoder, None, 7, 1)
        return fit_candidate("logistic", rows, training.model.estimator.settings()), matrix

    (first, seen), (last, matrix) = fitted(fit), fitted(np.ones(len(frame), dtype=bool))
    newest = days == days.max()
    published = training.model.score(frame[newest], explain=False)
    line = fit_calibrator(first.margins(seen[calibrate]), outcomes[calibrate])
    model = training.model.at(date.fromisoformat(days.max()))
    slope = grown(line, outcomes[fit].sum(), outcomes.sum()).slope
    assert model.calibrator.slope == pytest.approx(slope, abs=1e-9)
    assert np.allclose(model.calibrator.log_odds(last.margins(matrix[newest])), published.log_odds, atol=1e-9)
    assert model.facts.last_seen_date == days.max()
    assert model.level is not None
    before_any_level = replace(training.model, level=replace(model.level, shifts=(), is_applied=False))
    assert before_any_level.score(frame, explain=False).probability.mean() == pytest.approx(outcomes.mean(), abs=1e-6)


def test_a_model_with_features_left_out_is_repeated_bit_for_bit(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (lessons, last_fit):
        monkeypatch.setattr(module, "select_features", lambda _: Selection(np.arange(3), 0.02))
    task = replace(TASK, candidates=("logistic",))
    training = train(frame, FEATURES, task, **ARGUMENTS)
    assert training.decision["features"]["kept"] == 3
    again = repeat(training.model, training.split, frame, task)
    assert np.array_equal(again.score(frame).probability, training.model.score(frame).probability)


def test_folds_roll_forward_with_a_gap_of_one_horizon(frame: pd.DataFrame) -> None:
    dates = pd.to_datetime(frame["as_of_date"]).to_numpy().astype("datetime64[D]")
    folds = rolling_folds(dates, frame["outcome"].to_numpy(dtype=float), horizon_days=60)
    assert len(folds) == 3
    for fold in folds:
        assert dates[fold.fit].max() + np.timedelta64(60, "D") <= dates[fold.judge].min()
    assert [int(fold.fit.sum()) for fold in folds] == sorted(int(fold.fit.sum()) for fold in folds)
    assert folds[0].last < folds[1].first
    assert rolling_folds(dates[:1], np.ones(1), horizon_days=60) == []


def test_a_search_goes_on_where_it_stopped_and_its_record_is_plain_json(frame: pd.DataFrame) -> None:
    storage = optuna.storages.InMemoryStorage()
    stopped = train(frame, FEATURES, QUICK, budget=SearchBudget(trials=3, storage=storage), **ARGUMENTS)
    assert (stopped.decision["search"]["trials"], stopped.decision["search"]["resumed"]) == (3, 0)
    resumed = train(frame, FEATURES, QUICK, budget=SearchBudget(trials=8, storage=storage), **ARGUMENTS)
    record = resumed.decision["search"]
    assert (record["trials"], record["resumed"]) == (8, 3)
    assert record["complete"] + record["pruned"] == 8
    assert len(record["folds"]) == 3
    for kind in ("logistic", "xgboost"):
        chosen = record["candidates"][kind]
        assert resumed.decision["settings"][kind].items() >= chosen["settings"].items()
        assert chosen["log_loss"] >= chosen["best_log_loss"]
    json.dumps(resumed.decision, allow_nan=False)
    done = train(frame, FEATURES, QUICK, budget=SearchBudget(trials=8, storage=storage), **ARGUMENTS)
    assert done.decision["search"]["trials"] == 8


def test_a_search_without_time_gives_the_best_so_far_and_a_failing_trial_stops_no_other(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("no trees today")

    monkeypatch.setitem(candidates._FITTERS, "xgboost", broken)
    monkeypatch.setattr(search, "starting_point", lambda kind: {"candidate": kind})
    training = train(frame, FEATURES, QUICK, budget=SearchBudget(trials=4), **ARGUMENTS)
    record = training.decision["search"]
    assert record["failed"] >= 1
    assert record["errors"] == ["ValueError: no trees today"]
    assert "logistic" in record["candidates"]
    hurried = train(frame, FEATURES, QUICK, budget=SearchBudget(seconds=0.001), **ARGUMENTS)
    assert hurried.decision["search"]["trials"] == 1
    assert hurried.decision["chosen"] == "logistic"


def test_within_one_standard_error_the_cheapest_reasons_are_chosen() -> None:
    best = search._Tried("xgboost", {"max_depth": 4}, [0.100, 0.120, 0.110], cost=6400.0)
    near = search._Tried("xgboost", {"max_depth": 2}, [0.101, 0.119, 0.1105], cost=400.0)
    far = search._Tried("xgboost", {"max_depth": 1}, [0.110, 0.130, 0.121], cost=100.0)
    assert search.cheapest_of_the_best([best, near, far]) is near


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a budget"):
        SearchBudget()
    with pytest.raises(ValueError, match="trials must be more than 0"):
        SearchBudget(trials=0)
    with pytest.raises(TaskError, match="needs both"):
        replace(CHURN, candidates=("blend",))


def _judged(random: np.random.Generator, rows: int = 3000) -> tuple[np.ndarray, Judged]:
    truth = random.beta(1, 9, rows)
    outcomes = (random.random(rows) < truth).astype(float)
    entities = np.arange(rows) // 3
    return np.clip(truth, 0.001, 0.999), Judged(outcomes, entities, np.where(entities % 2, "big", "small"))


def _verdict(ours: np.ndarray, theirs: np.ndarray, rows: Judged, **settings: Any) -> dict[str, Any]:
    beats_rule = settings.pop("beats_rule", True)
    return judge_promotion(ours, theirs, rows, Promotion(**settings), beats_rule=beats_rule, seed=7)


def test_a_challenger_is_promoted_only_if_every_condition_holds() -> None:
    random = np.random.default_rng(3)
    truth, rows = _judged(random)
    constant = np.full(len(truth), rows.outcomes.mean())
    assert _verdict(truth, constant, rows)["promoted"] is True
    assert _verdict(truth, truth, rows)["promoted"] is False
    worse_than_rule = _verdict(truth, constant, rows, beats_rule=False)
    assert worse_than_rule["reason"] == "not met: better than the rule"

    # Better as a whole, and much worse in one segment.
    lopsided = np.where(rows.segments == "small", constant * 0.2, truth)
    weak = np.where(rows.segments == "small", constant, 0.5)
    verdict = _verdict(lopsided, weak, rows)
    assert verdict["log_loss_gain_low"] > 0
    assert verdict["conditions"]["no segment worse"] is False

    # Better in rank, and worse in calibration than it may be.
    sharper = np.clip(truth * 2.0, 0.001, 0.999)
    assert _verdict(sharper, truth, rows)["conditions"]["calibration no worse"] is False


def test_a_gain_that_chance_explains_does_not_promote() -> None:
    random = np.random.default_rng(5)
    truth, rows = _judged(random, 600)
    shaken = 1 / (1 + np.exp(-(np.log(truth / (1 - truth)) + random.normal(0, 0.1, len(truth)))))
    forward, reverse = _verdict(truth, shaken, rows), _verdict(shaken, truth, rows)
    assert forward["log_loss_gain"] * reverse["log_loss_gain"] < 0
    assert (forward["promoted"], reverse["promoted"]) == (False, False)


def test_weighted_average_precision_is_scikit_learns() -> None:
    random = np.random.default_rng(1)
    probabilities = np.round(random.random(400), 2)
    outcomes = (random.random(400) < probabilities).astype(float)
    weights = random.integers(0, 3, (4, 400)).astype(float)
    expected = [average_precision_score(outcomes, probabilities, sample_weight=row) for row in weights]
    assert average_precisions(probabilities, outcomes, weights) == pytest.approx(expected, abs=1e-12)


def test_of_candidates_near_the_best_the_blend_is_chosen_and_without_it_the_cheapest_to_explain() -> None:
    chance = np.random.default_rng(1)
    losses = chance.exponential(0.1, 400)

    def candidate(cost: float, extra: float) -> Candidate:
        estimator = cast(Estimator, SimpleNamespace(reason_cost=lambda: cost))
        noise = chance.normal(0, 0.05, 400)
        later = _CalibrationRows(identity(), np.zeros(0), losses + extra + noise - noise.mean())
        return Candidate(estimator, estimator, identity(), np.zeros(0), np.zeros(0), None, (), later)

    contenders = {
        "logistic": candidate(0.0, 0.1),
        "xgboost": candidate(4032.0, 0.001),
        "blend": candidate(4032.0, 0.002),
        "random_forest": candidate(100.0, 0.003),
        "lightgbm": candidate(9000.0, 0.0),
    }
    assert _pick_near("lightgbm", list(contenders), contenders, np.arange(400)) == "blend"
    assert (
        _pick_near("lightgbm", ["xgboost", "random_forest", "lightgbm"], contenders, np.arange(400)) == "random_forest"
    )
    assert _pick_near("lightgbm", ["xgboost", "lightgbm"], contenders, np.arange(400)) == "xgboost"
