"""Which way a company's customers are valued, and who cannot be."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from ml_assets.lifetime.value import Terms
from pipeline.decisions.lifetime_value import FEWEST_CUSTOMERS, value_customers
from pipeline.prediction.tasks import ChurnSettings

TODAY = date(2026, 10, 1)
CANCELLATION = ChurnSettings(kind="cancellation", horizon_days=30)
DOWNGRADE = ChurnSettings(kind="downgrade", horizon_days=30, downgrade_share=0.25)
SILENCE = ChurnSettings(kind="inactivity", horizon_days=60, inactivity_days=60)


def customer(number: int, **given: Any) -> dict[str, Any]:
    """One row as the warehouse gives it: a buyer of 100 a month without a score."""
    first = TODAY - timedelta(days=300 + number % 60)
    row = {
        "purchases": 1 + number % 5,
        "first_purchase_date": first,
        "last_purchase_date": first + timedelta(days=40 * (number % 5)),
        "today": TODAY,
        "revenue_so_far": 100.0 * (1 + number % 5) + number,
        "monthly_revenue": 100.0,
        "horizon_curve": None,
    }
    return row | given


def standings(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows as a table, typed as they come."""
    types = {
        "purchases": pa.int32(),
        **dict.fromkeys(("first_purchase_date", "last_purchase_date", "today"), pa.date32()),
        **dict.fromkeys(("revenue_so_far", "monthly_revenue"), pa.float64()),
        "horizon_curve": pa.string(),
    }
    return pa.Table.from_pylist(rows, pa.schema(list(types.items())))


def curve(probability: float) -> str:
    """A published curve with one probability throughout."""
    return orjson.dumps({"within": {"30": probability, "180": probability}}).decode()


def never_bought(number: int) -> dict[str, Any]:
    """A customer without any purchase."""
    nothing = dict.fromkeys(("first_purchase_date", "last_purchase_date"))
    return customer(number, purchases=0, revenue_so_far=0.0, **nothing)


@pytest.mark.parametrize("churn", [SILENCE, None])
def test_without_contracts_purchases_tell_and_who_never_bought_has_no_value(churn: ChurnSettings | None) -> None:
    valuation = value_customers(standings([*map(customer, range(150)), never_bought(1)]), churn, Terms())
    assert set(valuation.method[:-1]) == {"purchases"}
    assert valuation.method[-1] is None
    assert np.all(valuation.low[:-1] <= valuation.likely[:-1])
    assert np.all(valuation.likely[:-1] <= valuation.high[:-1])
    assert np.isnan(valuation.likely[-1])
    assert np.isnan(valuation.alive[-1])
    assert valuation.refusal is None


def test_too_few_buyers_carry_no_model_and_it_is_said() -> None:
    valuation = value_customers(standings([customer(number) for number in range(20)]), SILENCE, Terms())
    assert np.all(np.isnan(valuation.likely))
    assert valuation.refusal is not None
    assert "20 customers have bought and 16 of them again" in valuation.refusal
    assert str(FEWEST_CUSTOMERS) in valuation.refusal


def test_with_contracts_the_curve_tells_and_who_has_no_score_has_no_value() -> None:
    rows = [customer(1, horizon_curve=curve(0.0)), customer(2, horizon_curve=curve(0.5)), customer(3)]
    valuation = value_customers(standings(rows), CANCELLATION, Terms(margin_share=0.5))
    assert valuation.method.tolist() == ["contract", "contract", None]
    assert valuation.likely[0] == pytest.approx(600)
    assert valuation.likely[1] < 600
    assert np.isnan(valuation.likely[2])


def test_where_a_downgrade_counts_only_its_share_is_lost() -> None:
    row = customer(1, horizon_curve=curve(1 - 1e-9))
    lost = value_customers(standings([row]), DOWNGRADE, Terms()).likely[0]
    assert lost == pytest.approx(0.75 * 1200, rel=0.05)


def test_where_nobody_has_a_score_nobody_has_a_value() -> None:
    assert value_customers(standings([customer(1)]), CANCELLATION, Terms()).method.tolist() == [None]


def test_refunds_beyond_all_that_was_paid_leave_nothing_to_expect_from_spend_but_no_error() -> None:
    rows = [*map(customer, range(150)), customer(7, revenue_so_far=-50.0)]
    valuation = value_customers(standings(rows), SILENCE, Terms())
    assert np.all(np.isfinite(valuation.likely))
    assert valuation.likely[-1] >= 0


def test_purchases_that_brought_nothing_are_a_refusal_and_no_failure() -> None:
    rows = [customer(number, revenue_so_far=0.0) for number in range(150)]
    valuation = value_customers(standings(rows), SILENCE, Terms())
    assert np.all(np.isnan(valuation.likely))
    assert valuation.refusal is not None
    assert valuation.refusal.startswith("No purchase brought anything, so nothing tells what the next one brings.")
