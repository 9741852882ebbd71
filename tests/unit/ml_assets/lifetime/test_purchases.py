"""The BG/NBD model, held to the figures its authors published and to customers simulated one purchase at a time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.errors import LifetimeError
from ml_assets.frames import FloatArray
from ml_assets.lifetime.purchases import PurchaseHistory, PurchaseModel, fit_purchases

CDNOW = Path(__file__).parents[3] / "fixtures" / "cdnow.csv"
"""The 2,357 customers of CDNOW who first bought in early 1997, seen for 39 weeks (Fader and Hardie's public sample)."""

PUBLISHED = PurchaseModel(r=0.243, alpha=4.414, a=0.793, b=2.426)


def cdnow() -> tuple[PurchaseHistory, FloatArray]:
    """Their histories in weeks, and the repeat purchases of the 39 weeks after."""
    customers = pd.read_csv(CDNOW)
    history = PurchaseHistory(*(customers[name].to_numpy(float) for name in ("repeats", "last_week", "age_weeks")))
    return history, customers["later_repeats"].to_numpy(float)


def one(repeats: float, last: float, age: float) -> PurchaseHistory:
    """The history of a single customer."""
    return PurchaseHistory(np.array([repeats]), np.array([last]), np.array([age]))


def simulated(model: PurchaseModel, customers: int, age: float, seed: int) -> tuple[PurchaseHistory, FloatArray]:
    """Customers who buy and leave as the model's story says, and their purchases within another `age`."""
    random = np.random.default_rng(seed)
    repeats, last, later = np.zeros(customers), np.zeros(customers), np.zeros(customers)
    rates = random.gamma(model.r, 1 / model.alpha, customers)
    for customer, leaving in enumerate(random.beta(model.a, model.b, customers)):
        now = random.exponential(1 / max(rates[customer], 1e-12))
        while now < 2 * age:
            if now < age:
                repeats[customer] += 1
                last[customer] = now
            else:
                later[customer] += 1
            if random.random() < leaving:
                break
            now += random.exponential(1 / rates[customer])
    return PurchaseHistory(repeats, last, np.full(customers, age)), later


def test_the_published_parameters_of_cdnow_come_out() -> None:
    model = fit_purchases(cdnow()[0])
    assert (round(model.r, 3), round(model.alpha, 3), round(model.a, 3), round(model.b, 3)) == (
        0.243,
        4.414,
        0.793,
        2.426,
    )
    assert model.log_likelihood(cdnow()[0]) * 2357 == pytest.approx(-9582.4, abs=0.05)


def test_the_published_customer_makes_1_226_purchases_in_39_weeks() -> None:
    assert PUBLISHED.expected_purchases(one(2, 30.43, 38.86), 39)[0] == pytest.approx(1.226, abs=5e-4)


def test_who_never_bought_again_is_surely_there_and_expected_to_buy_little() -> None:
    never = one(0, 0, 38.86)
    assert PUBLISHED.probability_alive(never)[0] == 1
    assert PUBLISHED.expected_purchases(never, 39)[0] == pytest.approx(0.195, abs=1e-3)


def test_the_next_39_weeks_of_cdnow_are_forecast_within_an_eighth() -> None:
    history, later = cdnow()
    assert fit_purchases(history).expected_purchases(history, 39).sum() == pytest.approx(later.sum(), rel=0.125)


@pytest.mark.parametrize(
    "model",
    [
        PurchaseModel(r=0.8, alpha=10, a=0.6, b=2.5),
        PurchaseModel(r=2.0, alpha=30, a=1.0, b=4.0),
        PurchaseModel(r=0.5, alpha=5, a=0.4, b=0.6),
    ],
    ids=["usual", "a is one", "a and b add up to one"],
)
def test_simulated_customers_buy_as_often_as_expected(model: PurchaseModel) -> None:
    history, later = simulated(model, 20_000, 60.0, seed=3)
    expected = model.expected_purchases(history, 60.0)
    for again in (history.repeats == 0, history.repeats == 1, history.repeats > 1):
        error = later[again].std() / np.sqrt(again.sum())
        assert abs(expected[again].mean() - later[again].mean()) < 4 * error


def test_what_a_world_was_made_with_is_found_again() -> None:
    model = PurchaseModel(r=0.8, alpha=10, a=0.6, b=2.5)
    history, later = simulated(model, 20_000, 90.0, seed=4)
    fitted = fit_purchases(history)
    assert fitted.expected_purchases(history, 90.0).sum() == pytest.approx(later.sum(), rel=0.05)
    assert fitted.log_likelihood(history) >= model.log_likelihood(history)


def test_drawn_purchases_have_the_expected_mean() -> None:
    history = PurchaseHistory(np.array([0.0, 2.0, 30.0]), np.array([0.0, 30.43, 37.0]), np.full(3, 38.86))
    drawn = PUBLISHED.drawn_purchases(history, 39, 200_000, np.random.default_rng(5))
    error = drawn.std(axis=1) / np.sqrt(drawn.shape[1])
    assert np.all(np.abs(drawn.mean(axis=1) - PUBLISHED.expected_purchases(history, 39)) < 4 * error)


PARAMETERS = st.floats(0.01, 50)


@settings(max_examples=300, deadline=None)
@given(
    model=st.builds(PurchaseModel, r=PARAMETERS, alpha=st.floats(0.1, 1000), a=PARAMETERS, b=PARAMETERS),
    repeats=st.integers(0, 2000),
    gone=st.floats(0.001, 1),
    age=st.floats(0.1, 5000),
)
def test_whatever_the_customer_more_time_brings_more_and_alive_is_a_chance(
    model: PurchaseModel, repeats: int, gone: float, age: float
) -> None:
    history = one(repeats, age * gone if repeats else 0, age)
    assert 0 <= model.probability_alive(history)[0] <= 1
    within = [model.expected_purchases(history, time)[0] for time in (0, 30, 365, 3650)]
    assert np.all(np.isfinite(within))
    assert within[0] == pytest.approx(0, abs=1e-9)
    assert np.all(np.diff(within) >= -1e-9)


def test_the_unit_of_time_does_not_matter() -> None:
    weeks, _ = cdnow()
    days = PurchaseHistory(weeks.repeats, weeks.last * 7, weeks.age * 7)
    by_week = fit_purchases(weeks).expected_purchases(weeks, 39)
    assert fit_purchases(days).expected_purchases(days, 273) == pytest.approx(by_week, rel=1e-3)


def test_where_nobody_bought_twice_there_is_no_model() -> None:
    with pytest.raises(LifetimeError, match="second time"):
        fit_purchases(PurchaseHistory(np.zeros(9), np.zeros(9), np.arange(9.0)))


@pytest.mark.parametrize("history", [(1, 5, 3), (-1, 0, 3), (0, 2, 3), (2, 0, 3), (1, float("nan"), 3)])
def test_a_history_that_cannot_be_is_refused(history: tuple[float, float, float]) -> None:
    with pytest.raises(LifetimeError, match="contradict"):
        one(*history)
