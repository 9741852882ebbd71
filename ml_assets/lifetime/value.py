"""What customers are expected to bring within the next twelve months, in the currency of what they brought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_assets.frames import FloatArray
from ml_assets.lifetime.purchases import PurchaseHistory, PurchaseModel
from ml_assets.lifetime.spend import SpendModel

DAYS = 365
WEEKS = 52
MONTHS = 12
LOW, HIGH = 0.1, 0.9
"""The shares of what may come that lie below the ends of a range: eight of ten outcomes lie within it."""

DRAWS = 200
CUSTOMERS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Terms:
    """How a company counts money: the share of revenue that stays with it, and what a year's waiting costs."""

    margin_share: float = 1.0
    yearly_discount: float = 0.0

    def worth(self, days: FloatArray) -> FloatArray:
        """What one of revenue is worth today that comes after so many days."""
        return np.asarray(self.margin_share * (1 + self.yearly_discount) ** (-days / DAYS))


@dataclass(frozen=True)
class ExpectedValue:
    """The value of each customer, (customers,): the mean of what may come, and the range of eight outcomes of ten.

    The range is widened to hold the mean, which for one who probably buys nothing lies above nine outcomes of ten.
    """

    low: FloatArray
    likely: FloatArray
    high: FloatArray


def value_of_purchases(
    purchases: PurchaseModel,
    spend: SpendModel,
    history: PurchaseHistory,
    mean_spend: FloatArray,
    terms: Terms,
    seed: int = 0,
) -> ExpectedValue:
    """What customers without a contract bring: purchases to come times what each brings.

    `history` is in days; `mean_spend`, (customers,), is the mean of all purchases, the first included.
    """
    bought = history.repeats + 1
    until = np.array([purchases.expected_purchases(history, month * DAYS / MONTHS) for month in range(MONTHS + 1)])
    worth = np.diff(until, axis=0).T @ terms.worth(_middles(MONTHS))
    likely = worth * spend.expected_spend(bought, mean_spend)
    each = np.divide(worth, until[-1], out=np.zeros(len(bought)), where=until[-1] > 0)
    low, high = np.empty(len(bought)), np.empty(len(bought))
    random = np.random.default_rng(seed)
    for start in range(0, len(bought), CUSTOMERS_AT_ONCE):
        part = slice(start, start + CUSTOMERS_AT_ONCE)
        of_part = PurchaseHistory(history.repeats[part], history.last[part], history.age[part])
        counts = purchases.drawn_purchases(of_part, DAYS, DRAWS, random)
        totals = spend.drawn_totals(bought[part], mean_spend[part], counts, random)
        low[part], high[part] = np.quantile(totals, (LOW, HIGH), axis=1)
    return ExpectedValue(np.minimum(low * each, likely), likely, np.maximum(high * each, likely))


def value_of_contracts(
    days: Sequence[int], curve: FloatArray, monthly_revenue: FloatArray, terms: Terms, lost_share: float = 1.0
) -> ExpectedValue:
    """What customers bring who pay until they leave.

    `curve`, (customers, days), is the probability of having left within each of `days`, growing; between them, and
    after the last, customers leave at a constant rate. `monthly_revenue` is (customers,); `lost_share` of it goes.
    """
    weekly = monthly_revenue * 12 / WEEKS
    worth = terms.worth(_middles(WEEKS))
    staying = _staying(np.asarray(days, dtype=float), curve)

    def value(left: npt.NDArray[Any]) -> FloatArray:
        return np.asarray(weekly * ((1 - lost_share * left) @ worth))

    low, likely, high = value(staying < 1 - LOW), value(1 - staying), value(staying < 1 - HIGH)
    return ExpectedValue(np.minimum(low, likely), likely, np.maximum(high, likely))


def _middles(parts: int) -> FloatArray:
    """The days at which each of so many equal parts of a year is half over."""
    return (np.arange(parts) + 0.5) * DAYS / parts


def _staying(days: FloatArray, curve: FloatArray) -> FloatArray:
    """The probability of still being there in the middle of each week, (customers, weeks)."""
    ends = np.concatenate([[0.0], days])
    hazard = -np.log1p(-np.column_stack([np.zeros(len(curve)), curve]))
    rates = np.diff(hazard, axis=1) / np.diff(ends)
    middles = _middles(WEEKS)
    step = np.minimum(np.searchsorted(ends, middles, side="right") - 1, len(days) - 1)
    return np.asarray(np.exp(-(hazard[:, step] + rates[:, step] * (middles - ends[step]))))
