"""The range of an effect: the true one stays in it however often one looks, and it says what it takes to be sure."""

from __future__ import annotations

import numpy as np
import pytest

from ml_assets.effects.confidence import MISTAKES, customers_needed, effect_of, effect_scores
from ml_assets.frames import FloatArray
from pipeline.decisions.ledger import is_enough

Worlds = [
    pytest.param(0.3, 0.2, 0.9, id="it helps"),
    pytest.param(0.12, 0.12, 0.9, id="it does nothing"),
    pytest.param(0.2, 0.25, 0.8, id="it harms"),
    pytest.param(0.05, 0.05, 0.9, id="few leave"),
]


def world(seed: int, left_alone: float, treated: float, propensity: float) -> tuple[np.ndarray, FloatArray, FloatArray]:
    """1,500 customers: who is treated, who stays, and what each tells of the effect."""
    rng = np.random.default_rng(seed)
    is_treated = rng.random(1500) < propensity
    stays = (rng.random(1500) >= np.where(is_treated, treated, left_alone)).astype(float)
    return is_treated, stays, effect_scores(is_treated, stays, np.full(1500, propensity))


@pytest.mark.parametrize(("left_alone", "treated", "propensity"), Worlds)
def test_whoever_looks_every_day_is_hardly_ever_misled(left_alone: float, treated: float, propensity: float) -> None:
    """10 customers a day, 150 looks: the range must hold the truth at all of them, in 95 of 100 worlds or more."""
    truth, misled, worlds = left_alone - treated, 0, 200
    for seed in range(worlds):
        is_treated, stays, scores = world(seed, left_alone, treated, propensity)
        for seen in range(10, len(scores) + 1, 10):
            if not is_enough(is_treated[:seen], stays[:seen]):
                continue
            effect = effect_of(scores[:seen])
            if not effect.low <= truth <= effect.high:
                misled += 1
                break
    # 95 of 100, and what 200 worlds scatter by.
    assert misled / worlds <= MISTAKES + 2 * np.sqrt(MISTAKES * (1 - MISTAKES) / worlds)


def test_an_interval_made_for_one_look_misleads_whoever_looks_every_day() -> None:
    """The test above can fail: with 1.96 standard errors, right at one look, it would."""
    misled = 0
    for seed in range(200):
        is_treated, stays, scores = world(seed, 0.3, 0.3, 0.9)
        for seen in range(10, len(scores) + 1, 10):
            if is_enough(is_treated[:seen], stays[:seen]):
                mean, error = scores[:seen].mean(), scores[:seen].std() / np.sqrt(seen)
                if abs(mean) > 1.96 * error:
                    misled += 1
                    break
    assert misled / 200 > 0.15


def test_the_mean_of_the_scores_is_the_effect() -> None:
    means = [world(seed, 0.3, 0.2, 0.9)[2].mean() for seed in range(200)]
    assert np.mean(means) == pytest.approx(0.1, abs=3 * np.std(means) / np.sqrt(200))


def test_scores_rest_on_nothing_that_came_later() -> None:
    is_treated, stays, scores = world(1, 0.3, 0.2, 0.9)
    first = effect_scores(is_treated[:100], stays[:100], np.full(100, 0.9))
    assert np.array_equal(first, scores[:100])


@pytest.mark.parametrize("difference", [0.5, 0.1, 0.02])
def test_the_customers_needed_are_those_at_which_the_range_is_narrow_enough(difference: float) -> None:
    needed = customers_needed(1.0, difference)
    assert needed is not None

    def half(customers: int) -> float:
        effect = effect_of(np.resize([-1.0, 1.0], customers))
        return effect.high - effect.likely

    even = needed + needed % 2
    assert half(even) <= difference + 1e-9
    assert half(max(2, even - 4)) > difference


def test_what_would_take_for_ever_is_said_to_be_out_of_reach() -> None:
    assert customers_needed(1.0, 1e-9) is None
