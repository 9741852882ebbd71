"""Drift against what a stable past shows: what is flagged, what is named, and what is left in peace."""

from collections.abc import Iterable

import numpy as np
import orjson
import pandas as pd
import pytest

from ml_assets.judging.base_rate import DateOutcomes
from ml_assets.judging.drift import TOGETHER, Drift, DriftReference, describe_training, measure_drift
from ml_assets.judging.limits import MOST_PSI
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
    return _names(drifts.values())


def _names(drifts: Iterable[Drift]) -> set[str]:
    return {drift.feature for drift in drifts if drift.is_drifted}


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


def test_a_short_past_is_judged_by_the_ceiling_and_says_so(world: World) -> None:
    model, _, _ = world
    frame = simulate(customers=300, months=6, signal=0.0, rate=0.001, seed=4)
    frame["tenure_days"] = 100.0
    days = sorted(frame["as_of_date"].unique())
    reference = describe_training(model, frame[frame["as_of_date"] < days[-2]], horizon_days=HORIZON_DAYS)
    now = frame[frame["as_of_date"] == days[-1]].reset_index(drop=True)
    calm = measure_drift(reference, model, now)
    moved = measure_drift(reference, model, now.assign(noise_1=now["noise_1"] + 1.5))
    assert _names(calm) == set()
    assert _names(moved) == {"noise_1"}
    assert "3 past dates are too few" in calm[2].note


def test_no_past_makes_everything_usual(world: World) -> None:
    """Months that were all over the place would leave limits in the hundreds by Student's t alone."""
    model, _, now = world
    frame = simulate(customers=900, months=9, seed=4)
    months = frame["as_of_date"].rank(method="dense").astype(int) - 1
    frame["revenue_90d"] += np.array([0, 0, 2000, 0, 1, 3000, 0, 1, 4000])[months]
    reference = describe_training(model, frame, horizon_days=HORIZON_DAYS)
    drifts = {
        drift.feature: drift
        for drift in measure_drift(reference, model, now.assign(revenue_90d=now["revenue_90d"] * -100))
    }
    assert (drifts["revenue_90d"].usual or 0) < MOST_PSI + 0.5
    assert drifts["revenue_90d"].is_drifted


STABLE_WORLDS = 8
DATES_AFTER_TRAINING = 4
RATE = 0.06

PLANTED = {
    "the rate": lambda now, random: now.assign(outcome=random.random(len(now)) < 5 * RATE),
    "one feature": lambda now, _: now.assign(revenue_90d=now["revenue_90d"] * 2),
    "all features": lambda now, _: now.assign(
        **{
            feature.name: now[feature.name] + 0.6 * now[feature.name].std()
            for feature in FEATURES
            if feature.kind == "number"
        }
    ),
    "a category": lambda now, random: now.assign(plan=now["plan"].where(random.random(len(now)) > 0.3, "gold")),
    "a unit": lambda now, _: now.assign(revenue_90d=now["revenue_90d"] * 100),
}


def _stable_world(months: int, seed: int) -> pd.DataFrame:
    """Customers who stay, features that stand still, and an outcome of a constant rate."""
    frame = simulate(customers=300, months=months, rate=0.0005, signal=0.0, seed=seed)
    random = np.random.default_rng(seed)
    return frame.assign(tenure_days=random.integers(10, 900, len(frame)), outcome=random.random(len(frame)) < RATE)


def _counted(now: pd.DataFrame) -> DateOutcomes:
    return DateOutcomes(str(now["as_of_date"].iloc[0]), len(now), int(now["outcome"].sum()))


@pytest.mark.parametrize("months", [5, 8, 14])
def test_what_was_planted_is_seen_within_two_dates_and_a_stable_world_is_left_in_peace(
    world: World, months: int
) -> None:
    model = world[0]
    alarms, missed = 0, []
    for seed in range(STABLE_WORLDS):
        frame = _stable_world(months + DATES_AFTER_TRAINING, seed)
        dates = [rows.reset_index(drop=True) for _, rows in frame.groupby("as_of_date")]
        past, after = pd.concat(dates[:months]), dates[months:]
        reference = describe_training(model, past, horizon_days=HORIZON_DAYS)
        alarms += sum(bool(_names(measure_drift(reference, model, now, [_counted(now)]))) for now in after)
        random = np.random.default_rng(seed)
        for kind, plant in PLANTED.items():
            planted = [plant(now, random) for now in after[:2]]
            seen = [_names(measure_drift(reference, model, now, [_counted(now)])) for now in planted]
            if not any(seen):
                missed.append((seed, kind))
    assert alarms <= STABLE_WORLDS * DATES_AFTER_TRAINING / 50 + 1
    assert missed == []


def test_a_reference_is_kept_as_json_and_read_back(world: World) -> None:
    reference = world[1]
    assert DriftReference.from_json(orjson.loads(orjson.dumps(reference.to_json()))) == reference
