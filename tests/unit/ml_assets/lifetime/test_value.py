"""What customers are expected to bring: closed forms, and simulated customers who then bring it or not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.lifetime.purchases import PurchaseModel
from ml_assets.lifetime.spend import SpendModel
from ml_assets.lifetime.value import Terms, value_of_contracts, value_of_purchases
from tests.unit.ml_assets.lifetime.test_purchases import one, simulated

CURVE = (30, 60, 90, 180)


def constant_hazard(rate: float) -> np.ndarray:
    """The curve of one customer who leaves at a constant rate per day."""
    return -np.expm1(-rate * np.array([CURVE]))


def test_who_surely_stays_brings_a_year_of_revenue() -> None:
    value = value_of_contracts(CURVE, np.zeros((1, 4)), np.array([100.0]), Terms())
    assert (value.low[0], value.likely[0], value.high[0]) == pytest.approx((1200, 1200, 1200))


def test_margin_and_discount_count() -> None:
    value = value_of_contracts(CURVE, np.zeros((1, 4)), np.array([100.0]), Terms(0.4, 0.1))
    in_closed_form = 0.4 * 1200 * (1 - 1 / 1.1) / np.log(1.1)
    assert value.likely[0] == pytest.approx(in_closed_form, rel=1e-4)


@pytest.mark.parametrize("rate", [0.0005, 0.002, 0.01])
def test_a_constant_hazard_has_its_closed_form_beyond_the_curve_too(rate: float) -> None:
    value = value_of_contracts(CURVE, constant_hazard(rate), np.array([100.0]), Terms())
    assert value.likely[0] == pytest.approx(1200 / 365 * -np.expm1(-rate * 365) / rate, rel=1e-3)
    tenth, ninth = -np.log(0.9) / rate, -np.log(0.1) / rate
    assert value.low[0] == pytest.approx(1200 / 365 * min(tenth, 365), abs=1200 / 52)
    assert value.high[0] == pytest.approx(1200 / 365 * min(ninth, 365), abs=1200 / 52)


def test_where_leaving_takes_a_share_the_rest_still_comes() -> None:
    value = value_of_contracts(CURVE, np.full((1, 4), 1 - 1e-9), np.array([100.0]), Terms(), lost_share=0.25)
    assert value.likely[0] == pytest.approx(900, rel=0.02)


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.floats(0, 0.99), min_size=4, max_size=4),
    revenue=st.floats(0, 1e6),
    terms=st.builds(Terms, margin_share=st.floats(0.01, 1), yearly_discount=st.floats(0, 1)),
)
def test_a_range_holds_its_mean_and_nothing_exceeds_a_sure_year(
    steps: list[float], revenue: float, terms: Terms
) -> None:
    curve = 1 - np.cumprod(1 - np.array([steps]), axis=1)
    value = value_of_contracts(CURVE, np.minimum(curve, 1 - 1e-6), np.array([revenue]), terms)
    sure = value_of_contracts(CURVE, np.zeros((1, 4)), np.array([revenue]), terms)
    assert 0 <= value.low[0] <= value.likely[0] <= value.high[0] <= sure.likely[0] * (1 + 1e-9)


def test_eight_outcomes_of_ten_lie_within_the_range() -> None:
    model, spend = PurchaseModel(r=2.0, alpha=60, a=0.6, b=4.0), SpendModel(p=4.0, q=3.0, v=50.0)
    history, later = simulated(model, 4_000, 365.0, seed=9)
    random = np.random.default_rng(10)
    rate = random.gamma(spend.q, 1 / spend.v, len(history))
    bought = history.repeats + 1
    mean = random.gamma(spend.p * bought) / rate / bought
    brought = np.where(later > 0, random.gamma(np.maximum(spend.p * later, 1e-9)) / rate, 0)
    value = value_of_purchases(model, spend, history, mean, Terms())
    assert np.mean((value.low <= brought) & (brought <= value.high)) == pytest.approx(0.85, abs=0.06)
    assert value.likely.sum() == pytest.approx(brought.sum(), rel=0.05)


def test_the_same_history_has_the_same_value_each_time() -> None:
    model, spend, history = PurchaseModel(2.0, 60, 0.6, 4.0), SpendModel(4.0, 3.0, 50.0), one(3, 100, 200)
    first, second = (value_of_purchases(model, spend, history, np.array([20.0]), Terms()) for _ in range(2))
    assert (first.low, first.likely, first.high) == (second.low, second.likely, second.high)
