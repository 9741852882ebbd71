"""A change of features is judged in pairs: a good one, a useless one, a leaking one, an altered one, a removed one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_assets.change.judging import Judgement, features_with, features_without, judge_change
from ml_assets.change.moves import find_moves
from ml_assets.change.rows import FeatureChange, SameRows, find_change, same_rows
from ml_assets.errors import FrameError, LabelError
from ml_assets.task import Feature
from ml_assets.training.recipe import Recipe
from ml_assets.training.train import train
from tests.unit.ml_assets.ml_world import CHURN, FEATURES, HORIZON_DAYS, TRAINED_AT, simulate

WORLD = simulate(900, 16, rate=0.06)
SETTINGS = {
    "max_depth": 2,
    "trees": 60,
    "eta": 0.1,
    "min_child_weight": 2.0,
    "reg_lambda": 5.0,
    "colsample_bytree": 0.5,
}
USAGE = next(feature for feature in FEATURES if feature.name == "usage_change")
OLD = tuple(feature for feature in FEATURES if feature is not USAGE)
NEW = Feature("new_column", "New column", "times", "customer", "number")
RECIPE = Recipe("xgboost", tuple(feature.name for feature in OLD), SETTINGS)


def judged(
    before: pd.DataFrame,
    after: pd.DataFrame,
    old: tuple[Feature, ...] = OLD,
    new: tuple[Feature, ...] = (*OLD, NEW),
    recipe: Recipe = RECIPE,
) -> tuple[Judgement, FeatureChange, SameRows]:
    same = same_rows(before, after)
    change = find_change(same, old, new)
    return judge_change(same, change, recipe, CHURN, horizon_days=HORIZON_DAYS, threads=1), change, same


def with_column(make: Callable[[pd.DataFrame, np.random.Generator], Any]) -> pd.DataFrame:
    return WORLD.assign(new_column=make(WORLD, np.random.default_rng(5)))


def test_a_column_that_tells_is_better_for_certain_and_its_placebo_is_not() -> None:
    after = WORLD
    judgement, change, _ = judged(WORLD.drop(columns="usage_change"), after, OLD, FEATURES)
    assert [feature.name for feature in change.added] == ["usage_change"]
    assert judgement.verdict == "better"
    assert judgement.gain is not None
    assert judgement.gain.low > 0
    assert max(judgement.placebo_gains) < judgement.gain.value / 3
    assert judgement.differences["auc"].low > 0
    (column,) = judgement.columns
    assert not column.is_left_out
    assert column.explained is not None
    assert column.explained < 0.1


def test_a_column_of_noise_makes_no_difference_that_could_be_shown() -> None:
    judgement, _, _ = judged(WORLD, with_column(lambda frame, random: random.normal(size=len(frame))))
    assert judgement.verdict == "no_difference"
    assert judgement.suspicions == ()


def test_a_copy_of_a_column_adds_nothing_and_is_told_of_as_one() -> None:
    judgement, _, _ = judged(WORLD, with_column(lambda frame, _: frame["tenure_days"] * 2 + 1))
    assert judgement.verdict == "no_difference"
    (column,) = judgement.columns
    assert next(iter(column.nearest)) == "tenure_days"
    assert column.nearest["tenure_days"] == pytest.approx(1.0)
    assert column.explained == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    "leak",
    [
        lambda frame, random: np.where(frame["outcome"], random.integers(1, 28, len(frame)), np.nan),
        lambda frame, random: frame["outcome"] * 5 + random.normal(size=len(frame)),
        lambda frame, random: np.where(frame["outcome"], np.nan, random.normal(size=len(frame))),
    ],
    ids=["filled only for those who left", "reads what came after", "empty for those who left"],
)
def test_a_leak_is_caught_by_name(leak: Callable[[pd.DataFrame, np.random.Generator], Any]) -> None:
    judgement, _, _ = judged(WORLD, with_column(leak))
    assert judgement.verdict == "leaks"
    assert {suspicion.feature.name for suspicion in judgement.suspicions} == {"new_column"}


def test_what_a_column_told_before_it_was_altered_is_no_new_suspicion() -> None:
    strong = with_column(lambda frame, random: frame["outcome"] * 5 + random.normal(size=len(frame)))
    altered = strong.assign(new_column=strong["new_column"] * 1.01)
    judgement, change, _ = judged(strong, altered, (*OLD, NEW), (*OLD, NEW))
    assert change.altered == (NEW,)
    assert judgement.suspicions == ()


def test_taking_a_telling_column_away_is_worse_and_has_no_placebo() -> None:
    recipe = Recipe("xgboost", tuple(feature.name for feature in FEATURES), SETTINGS)
    judgement, change, _ = judged(WORLD, WORLD, FEATURES, OLD, recipe)
    assert change.removed == (USAGE,)
    assert judgement.verdict == "worse"
    assert judgement.placebo_gains == ()


def test_a_column_that_is_altered_is_read_in_its_new_form() -> None:
    altered = WORLD.assign(tenure_days=0.0)
    judgement, change, _ = judged(WORLD, altered, FEATURES, FEATURES)
    assert [feature.name for feature in change.altered] == ["tenure_days"]
    assert "tenure_days" in {feature.name for feature in features_with(change, RECIPE)}
    assert judgement.verdict != "better"


def test_the_champion_reads_what_it_read_and_what_is_new() -> None:
    recipe = Recipe("xgboost", ("tenure_days",), SETTINGS)
    change = find_change(same_rows(WORLD, with_column(lambda *_: 1.0)), OLD, (*OLD[1:], NEW))
    assert [feature.name for feature in features_without(change, recipe)] == ["tenure_days"]
    assert [feature.name for feature in features_with(change, recipe)] == ["tenure_days", "new_column"]


def test_only_rows_that_both_have_are_judged_and_the_others_are_counted() -> None:
    shuffled = WORLD[5:].sample(frac=1, random_state=3)
    extra = WORLD[:3].assign(entity_id=["x", "y", "z"])
    same = same_rows(WORLD, pd.concat([shuffled, extra]))
    assert (same.only_before, same.only_after) == (5, 3)
    assert same.before["entity_id"].tolist() == same.after["entity_id"].tolist()
    assert same.before["noise_1"].tolist() == same.after["noise_1"].tolist()


def test_a_row_that_stands_twice_and_an_outcome_that_is_not_known_are_refused() -> None:
    with pytest.raises(FrameError, match="twice"):
        same_rows(WORLD, pd.concat([WORLD, WORLD[:1]]))
    with pytest.raises(LabelError, match="no outcome"):
        judged(WORLD.assign(outcome=WORLD["outcome"].astype(object).where(WORLD.index > 0, None)), WORLD, OLD, OLD)


def test_too_few_outcomes_are_not_judged() -> None:
    nobody = WORLD[WORLD["outcome"] == 0][:200]
    judgement, _, _ = judged(nobody, nobody, OLD, OLD)
    assert judgement.verdict == "not_judged"
    assert judgement.gain is None


def test_a_history_too_short_for_time_is_judged_on_other_customers() -> None:
    days = sorted(WORLD["as_of_date"].unique())[:1]
    short = WORLD[WORLD["as_of_date"].isin(days)]
    judgement, _, _ = judged(short, short, OLD, OLD)
    assert judgement.folds is not None
    assert judgement.folds.mode == "by_entity"


def test_whom_a_change_moves_is_told_with_reasons_that_name_the_new_column() -> None:
    before = WORLD.drop(columns="usage_change")
    same = same_rows(before, WORLD)
    change = find_change(same, OLD, FEATURES)
    newest = WORLD["as_of_date"].max()
    day = same_rows(before[before["as_of_date"] == newest], WORLD[WORLD["as_of_date"] == newest])
    champion = train(
        before, OLD, CHURN, horizon_days=HORIZON_DAYS, trained_at=TRAINED_AT, threads=1, recipe=RECIPE
    ).model
    moves = find_moves(same, day, change, RECIPE, champion, CHURN)
    assert moves.entities == len(day.after)
    assert sum(moves.levels.values()) == moves.entities
    assert 0 < moves.changed_levels < moves.entities
    assert len(moves.most_moved) == 10
    assert moves.most_moved[0].feature == "usage_change"
    assert any("Change of activity" in reason for reason in moves.most_moved[0].reasons)
    assert moves.weights["usage_change"] > 0.05
    assert sum(moves.weights.values()) == pytest.approx(1.0)
