"""A recipe: what a training settled is taken over, and all that is fitted is learned again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import orjson
import pytest

from ml_assets.task import CandidateName
from ml_assets.training.recipe import Recipe
from ml_assets.training.train import TrainingResult, train, train_rule
from tests.unit.ml_assets.ml_world import CHURN, FEATURES, HORIZON_DAYS, TRAINED_AT, simulate

WORLD = simulate(700, 14, rate=0.08)
EARLIER = WORLD[WORLD["as_of_date"] < sorted(WORLD["as_of_date"].unique())[-3]]


def _train(frame: object = WORLD, recipe: Recipe | None = None, **task: object) -> TrainingResult:
    return train(
        frame,  # type: ignore[arg-type]
        FEATURES,
        replace(CHURN, **task),  # type: ignore[arg-type]
        horizon_days=HORIZON_DAYS,
        trained_at=TRAINED_AT,
        threads=1,
        recipe=recipe,
    )


def _recipe_of(result: TrainingResult) -> Recipe:
    recipe = Recipe.of(result.model, result.decision)
    assert recipe is not None
    stored = Recipe.from_record(orjson.loads(orjson.dumps(recipe.describe(), option=orjson.OPT_SERIALIZE_NUMPY)))
    assert stored.describe() == recipe.describe()
    return stored


@pytest.mark.parametrize(
    "candidates", [("logistic",), ("lightgbm",), ("random_forest",), ("logistic", "xgboost", "blend")]
)
def test_a_recipe_of_the_same_rows_gives_the_same_model(candidates: tuple[CandidateName, ...]) -> None:
    full = _train(candidates=candidates)
    recipe = _recipe_of(full)
    assert recipe.fits(FEATURES, CHURN)
    again = _train(recipe=recipe)
    assert again.model.estimator.kind == full.model.estimator.kind
    assert again.model.encoder.features == full.model.encoder.features
    assert np.array_equal(again.model.score(WORLD).probability, full.model.score(WORLD).probability)
    assert set(again.evaluations) <= {*candidates, "rule", "base_rate"}
    assert again.report == {}


def test_a_recipe_of_earlier_rows_is_fitted_to_the_rows_of_now() -> None:
    recipe = _recipe_of(_train(EARLIER, candidates=("lightgbm",)))
    now = _train(recipe=recipe)
    then = _train(EARLIER, recipe)
    assert now.model.estimator.settings() == then.model.estimator.settings()
    assert now.model.facts.rows > then.model.facts.rows
    assert not np.array_equal(now.model.score(WORLD).probability, then.model.score(WORLD).probability)


def test_a_recipe_that_no_longer_fits_is_told() -> None:
    recipe = Recipe("lightgbm", ("tenure_days", "gone"), {})
    assert not recipe.fits(FEATURES, CHURN)
    assert not Recipe("lightgbm", ("tenure_days",), {}).fits(FEATURES, replace(CHURN, candidates=("logistic",)))


def test_a_rule_for_few_outcomes_settles_nothing() -> None:
    rule = train_rule(EARLIER[:20], FEATURES, CHURN, horizon_days=HORIZON_DAYS, trained_at=TRAINED_AT)
    assert Recipe.of(rule.model, rule.decision) is None
