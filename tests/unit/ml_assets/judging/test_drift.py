"""Drift against what a stable past shows: what is flagged, what is named, and what is left in peace."""

from collections.abc import Sequence

import numpy as np
import orjson
import pandas as pd
import pytest

from ml_assets.judging.drift import TOGETHER, Drift, DriftReference, describe_training, measure_drift
from ml_assets.model.trained import TrainedModel
from ml_assets.task import PROBABILITY
from ml_assets.training.train import train
from tests.unit.ml_assets.ml_world import CHURN, FEATURES, HORIZON_DAYS, TRAINED_AT, simulate

World = tuple[TrainedModel, DriftReference, pd.DataFrame]


@pytest.fixture(scope="module")
def world() -> World:
    """A model of sixteen months, what they were like, and the month after the gap."""
    # Customers who leave are replaced: the population stands still.
    frame = simulate(customers=900, months=18, seed=4)
    frame["tenure_days"] = np.random.default_rng(1).integers(10, 900, len(frame)).astype(float)
    days = sorted(frame["as_of_date"].unique())
    past = frame[frame["as_of_date"] < days[-2]]
    model = train(past, FEATURES, CHURN, horizon_days=HORIZON_DAYS, trained_at=TRAINED_AT, threads=1).model
    reference = describe_training(model, past, horizon_days=HORIZON_DAYS)
    return model, reference, frame[frame["as_of_date"] == days[-1]].reset_index(drop=True)


def _measure(world: World, now: pd.DataFrame) -> dict[str, Drift]:
    model, reference, _ = world
    return {drift.feature: drift for drift in measure_drift(reference, model, now)}


def _drifted(drifts: dict[str, Drift]) -> set[str]:
    return {name for name, drift in drifts.items() if drift.is_drifted}


def test_a_month_like_those_before_it_is_no_drift(world: World) -> None:
    drifts = _measure(world, world[2])
    assert _drifted(drifts) == set()
    assert {TOGETHER, PROBABILITY, "plan", "is_late_payer", "noise_1"} <= set(drifts)
    assert sum(drift.importance or 0 for drift in drifts.values()) == pytest.approx(1.0)


def test_features_that_moved_are_flagged_with_the_score_and_all_together(world: World) -> None:
    now = world[2].assign(
        failed_payments_90d=lambda rows: rows["failed_payments_90d"] * 3,
        days_since_last_payment=lambda rows: rows["days_since_last_payment"] + 40,
    )
    drifts = _measure(world, now)
    assert _drifted(drifts) == {"failed_payments_90d", "days_since_last_payment", PROBABILITY, TOGETHER}
    assert "2 features drifted" in drifts[TOGETHER].note
    shift = drifts["days_since_last_payment"]
    assert shift.psi is not None
    assert shift.usual is not None
    assert shift.psi > shift.usual
    assert shift.distance == pytest.approx(40 / world[0].encoder.encode(now)[:, 0].std(), rel=0.5)


def test_a_feature_that_goes_missing_is_named_with_its_shares(world: World) -> None:
    now = world[2].copy()
    now.loc[: len(now) // 2, "usage_change"] = np.nan
    drift = _measure(world, now)["usage_change"]
    assert drift.is_drifted
    assert drift.note.endswith("missing for 57% of rows, 10% in training")


def test_new_categories_are_named_whether_or_not_they_are_a_drift(world: World) -> None:
    now = world[2].copy()
    now.loc[:1, "plan"] = "gold"
    drift = _measure(world, now)["plan"]
    assert not drift.is_drifted
    assert drift.new_categories == ("gold",)
    assert "new: gold" in drift.note


def test_a_feature_that_the_matrix_lacks_is_a_drift_and_there_is_no_score(world: World) -> None:
    drifts = _measure(world, world[2].drop(columns="plan"))
    assert _drifted(drifts) == {"plan", TOGETHER}
    assert drifts["plan"].note == "not in the feature matrix"
    assert drifts[PROBABILITY].psi is None


def test_what_always_swings_is_no_drift_and_the_same_swing_of_a_still_feature_is(world: World) -> None:
    model, _, now = world
    frame = simulate(customers=900, months=16, seed=4)
    months = frame["as_of_date"].rank(method="dense").astype(int)
    shifts = pd.Series(np.random.default_rng(2).normal(0, 1.5, months.max() + 1))
    frame["noise_1"] += shifts[months].to_numpy()
    reference = describe_training(model, frame, horizon_days=HORIZON_DAYS)
    moved = now.assign(noise_1=now["noise_1"] + 1.5, noise_2=now["noise_2"] + 1.5)
    drifts = {drift.feature: drift for drift in measure_drift(reference, model, moved)}
    assert not drifts["noise_1"].is_drifted
    assert drifts["noise_2"].is_drifted


def test_a_short_past_judges_nothing_and_says_so(world: World) -> None:
    model, _, now = world
    frame = simulate(customers=300, months=4, seed=4)
    reference = describe_training(model, frame, horizon_days=HORIZON_DAYS)
    drifts = measure_drift(reference, model, now.assign(noise_1=9.0))
    assert not any(drift.is_drifted for drift in drifts)
    assert "3 past dates are too few" in drifts[2].note


def test_a_stable_past_is_called_drifted_hardly_ever(world: World) -> None:
    """On twelve worlds that stand still, all features together trip no more often than the chance that is promised."""
    model = world[0]
    verdicts: list[Sequence[Drift]] = []
    for seed in range(12):
        frame = simulate(customers=300, months=15, rate=0.001, signal=0.0, seed=seed)
        frame["tenure_days"] = 100.0
        last = frame["as_of_date"].max()
        reference = describe_training(model, frame[frame["as_of_date"] < last], horizon_days=HORIZON_DAYS)
        verdicts.append(measure_drift(reference, model, frame[frame["as_of_date"] == last]))
    assert sum(drift.is_drifted for drifts in verdicts for drift in drifts if drift.feature == TOGETHER) <= 1
    assert sum(any(drift.is_drifted for drift in drifts[1:]) for drifts in verdicts) <= 2


def test_a_reference_is_kept_as_json_and_read_back(world: World) -> None:
    reference = world[1]
    assert DriftReference.from_json(orjson.loads(orjson.dumps(reference.to_json()))) == reference
