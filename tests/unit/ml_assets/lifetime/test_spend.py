"""The Gamma-Gamma model, held to the figures its authors published and to simulated purchases."""

import numpy as np
import pandas as pd
import pytest

from ml_assets.errors import LifetimeError
from ml_assets.lifetime.spend import SpendModel, fit_spend
from tests.unit.ml_assets.lifetime.test_purchases import CDNOW


def test_the_published_parameters_of_cdnow_come_out() -> None:
    customers = pd.read_csv(CDNOW)
    model = fit_spend(customers["repeats"].to_numpy(float), customers["mean_spend"].to_numpy(float))
    assert (model.p, model.q, model.v) == pytest.approx((6.25, 3.74, 15.44), abs=0.01)


def test_a_mean_of_few_purchases_is_drawn_towards_everybodys() -> None:
    model = SpendModel(p=6.25, q=3.74, v=15.44)
    everybody = 6.25 * 15.44 / 2.74
    never, once, often = model.expected_spend(np.array([0.0, 1.0, 100.0]), np.array([0.0, 100.0, 100.0]))
    assert never == pytest.approx(everybody)
    assert everybody < once < often < 100
    assert often == pytest.approx(100, rel=0.01)


def test_what_a_world_was_made_with_is_found_again() -> None:
    random, truth = np.random.default_rng(6), SpendModel(p=4.0, q=3.0, v=50.0)
    purchases = random.integers(1, 20, 20_000).astype(float)
    rate = random.gamma(truth.q, 1 / truth.v, len(purchases))
    mean = random.gamma(truth.p * purchases) / rate / purchases
    model = fit_spend(purchases, mean)
    assert (model.p, model.q, model.v) == pytest.approx((4.0, 3.0, 50.0), rel=0.05)


def test_drawn_totals_have_the_expected_mean() -> None:
    model, purchases, mean = SpendModel(6.25, 3.74, 15.44), np.array([0.0, 3.0]), np.array([0.0, 80.0])
    drawn = model.drawn_totals(purchases, mean, np.full((2, 400_000), 5.0), np.random.default_rng(7))
    error = drawn.std(axis=1) / np.sqrt(drawn.shape[1])
    assert np.all(np.abs(drawn.mean(axis=1) - 5 * model.expected_spend(purchases, mean)) < 4 * error)


def test_no_purchases_bring_nothing() -> None:
    drawn = SpendModel(6.25, 3.74, 15.44).drawn_totals(
        np.array([2.0]), np.array([10.0]), np.zeros((1, 50)), np.random.default_rng(8)
    )
    assert not drawn.any()


def test_where_purchases_brought_nothing_there_is_no_model() -> None:
    with pytest.raises(LifetimeError, match="brought anything"):
        fit_spend(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
