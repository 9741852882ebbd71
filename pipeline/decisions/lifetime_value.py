"""One company's customers valued: by their purchases or their contracts, as the company understands churn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ml_assets.errors import LifetimeError
from ml_assets.frames import FloatArray
from ml_assets.lifetime.purchases import PurchaseHistory, fit_purchases
from ml_assets.lifetime.spend import fit_spend
from ml_assets.lifetime.value import ExpectedValue, Terms, value_of_contracts, value_of_purchases
from pipeline.prediction.tasks import ChurnSettings

FEWEST_CUSTOMERS, FEWEST_REPEATERS = 100, 30
"""Customers with a purchase, and those with a second one, below which no model of purchases is fitted."""


@dataclass(frozen=True)
class Valuation:
    """What is known of each customer's next twelve months, all (customers,); NaN where nothing is.

    `method` is purchases, contract, or None. `refusal` says why nobody could be valued by purchases, or is None.
    """

    method: np.ndarray
    low: FloatArray
    likely: FloatArray
    high: FloatArray
    alive: FloatArray
    refusal: str | None = None


def value_customers(standings: pa.Table, churn: ChurnSettings | None, terms: Terms) -> Valuation:
    """Value the customers of `read_standings` by what the company means by churn.

    Where customers cancel, they have contracts; where silence is churn, or nothing is said of it, they buy.
    """
    if churn is not None and churn.kind != "inactivity":
        return _by_contract(standings, terms, churn.downgrade_share or 1.0)
    return _by_purchases(standings, terms)


def _unknown(count: int) -> tuple[np.ndarray, FloatArray, FloatArray, FloatArray, FloatArray]:
    nothing = np.full(count, np.nan)
    return np.full(count, None, dtype=object), nothing, nothing.copy(), nothing.copy(), nothing.copy()


def _placed(count: int, rows: np.ndarray, method: str, value: ExpectedValue) -> Valuation:
    """A valuation of some rows among all."""
    methods, low, likely, high, alive = _unknown(count)
    methods[rows], low[rows], likely[rows], high[rows] = method, value.low, value.likely, value.high
    return Valuation(methods, low, likely, high, alive)


def _by_contract(standings: pa.Table, terms: Terms, lost_share: float) -> Valuation:
    curves = standings.column("horizon_curve").to_pylist()
    rows = np.array([row for row, curve in enumerate(curves) if curve is not None], dtype=int)
    if not len(rows):
        return Valuation(*_unknown(len(curves)))
    within = [orjson.loads(curves[row])["within"] for row in rows]
    days = sorted(within[0], key=int)
    curve = np.array([[by_day[day] for day in days] for by_day in within])
    revenue = standings.column("monthly_revenue").to_numpy()[rows]
    values = value_of_contracts([int(day) for day in days], curve, revenue, terms, lost_share)
    return _placed(len(curves), rows, "contract", values)


def _by_purchases(standings: pa.Table, terms: Terms) -> Valuation:
    count = standings.num_rows
    purchases = standings.column("purchases").to_numpy().astype(float)
    buyers = np.flatnonzero(purchases > 0)
    repeaters = int(np.sum(purchases > 1))
    if len(buyers) < FEWEST_CUSTOMERS or repeaters < FEWEST_REPEATERS:
        return Valuation(
            *_unknown(count),
            refusal=f"{len(buyers)} customers have bought and {repeaters} of them again; what they will bring is "
            f"estimated from {FEWEST_CUSTOMERS} and {FEWEST_REPEATERS} on",
        )
    of_buyers = standings.take(buyers)
    history = PurchaseHistory(
        purchases[buyers] - 1,
        _days(of_buyers, "first_purchase_date", "last_purchase_date"),
        _days(of_buyers, "first_purchase_date", "today"),
    )
    mean_spend = np.maximum(of_buyers.column("revenue_so_far").to_numpy(), 0) / purchases[buyers]
    try:
        model, spend = fit_purchases(history), fit_spend(purchases[buyers], mean_spend)
    except LifetimeError as error:
        return Valuation(*_unknown(count), refusal=str(error))
    valuation = _placed(count, buyers, "purchases", value_of_purchases(model, spend, history, mean_spend, terms))
    valuation.alive[buyers] = model.probability_alive(history)
    return valuation


def _days(table: pa.Table, earlier: str, later: str) -> FloatArray:
    """Whole days between two columns of dates."""
    return np.asarray(pc.days_between(table.column(earlier), table.column(later)).to_numpy(), dtype=float)
