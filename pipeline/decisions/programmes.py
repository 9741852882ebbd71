"""What a decision looks at: customers as they stand, and each programme with what its period has left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt

from ml_assets.frames import FloatArray
from pipeline.decisions.choice import HUNDREDTHS, BoolArray
from warehouse.companies.actions import Action, Period

RestsOn = Literal["believed", "measured"]
Words = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Customers:
    """Customers with a published score, all (customers,); NaN where a figure is not known, "" where a word is not.

    `worth`: the margin expected of each in twelve months; `monthly_revenue`: what they pay in a month; both money of
    the company. `probability`, with its range: of leaving within the horizon.
    """

    customer_id: Words
    segment: Words
    risk_level: Words
    plan: Words
    probability: FloatArray
    probability_low: FloatArray
    probability_high: FloatArray
    worth: FloatArray
    monthly_revenue: FloatArray


@dataclass(frozen=True)
class Effect:
    """Of those who would leave, the share that an action keeps, and whether that is believed or measured."""

    low: float
    likely: float
    high: float
    rests_on: RestsOn = "believed"


def share_saved(saved_low: float, saved: float, saved_high: float, controls_leave: float) -> Effect:
    """The measured effect: by how much more of the treated stay, each of the share of controls who leave (above 0)."""
    return Effect(saved_low / controls_leave, saved / controls_leave, saved_high / controls_leave, "measured")


def better_known(believed: Effect, measured: Effect | None) -> Effect:
    """Which effect to count with: what was measured, once that says more than the belief, or shows it to be wrong.

    It says more where its range is the narrower one; it shows the belief to be wrong where the two have nothing in
    common. Until then a wide range, which few outcomes give, does not end a programme before it could prove itself.
    """
    if measured is None:
        return believed
    is_narrower = measured.high - measured.low <= believed.high - believed.low
    lies_apart = measured.high < believed.low or believed.high < measured.low
    return measured if is_narrower or lies_apart else believed


@dataclass(frozen=True)
class Used:
    """What a programme has used in its period: money in hundredths, and customers, without and with explored ones."""

    spent: int = 0
    treated: int = 0
    explored_spent: int = 0
    explored: int = 0


@dataclass(frozen=True)
class Programme:
    """An action of the company as it stands on a day; arrays are (customers,).

    `is_control` and `draw_propensity` are as they were drawn; `explore_bucket` orders who is tried where money is spent
    to learn. `is_resting`: the action was decided for them less than its cool-down ago.
    """

    action: Action
    effect: Effect
    used: Used
    is_control: BoolArray
    draw_propensity: FloatArray
    explore_bucket: npt.NDArray[np.int64]
    is_resting: BoolArray
    is_stopped: bool = False

    @property
    def has_paid_fixed(self) -> bool:
        """Whether the period's fixed cost is spent: somebody has been treated in it."""
        return self.used.treated + self.used.explored > 0


def period_start(day: date, period: Period) -> date:
    """The first day of the week, month or quarter of a day."""
    if period == "week":
        return day - timedelta(days=day.weekday())
    month = day.month if period == "month" else day.month - (day.month - 1) % 3
    return day.replace(month=month, day=1)


def is_eligible(customers: Customers, action: Action) -> BoolArray:
    """Who an action is meant for, of those whose risk and worth are known; (customers,)."""
    asked = action.eligible
    eligible = ~np.isnan(customers.probability) & ~np.isnan(customers.worth)
    for words, allowed in (
        (customers.segment, asked.segments),
        (customers.risk_level, asked.risk_levels),
        (customers.plan, asked.plans),
    ):
        if allowed:
            eligible &= np.isin(words.astype(str), allowed)
    with np.errstate(invalid="ignore"):
        return eligible & (customers.probability >= asked.smallest_risk) & (customers.worth >= asked.smallest_value)


@dataclass(frozen=True)
class NetValue:
    """What an action would bring each customer's company, less its cost; all (customers,), `cost` in hundredths."""

    low: FloatArray
    likely: FloatArray
    high: FloatArray
    cost: npt.NDArray[np.int64]


def net_value(customers: Customers, action: Action, effect: Effect) -> NetValue:
    """Change of outcome x what it is worth - cost, for each customer; NaN where risk or worth are not known.

    The change is the probability of leaving times the share that the action keeps: at the low end, both are low. Of
    the worth the mean counts: its spread is luck, and evens out over customers. What is given away counts in full, as
    if everybody stayed to take it. Costs are rounded up to hundredths.
    """
    given = action.gives_price_share * action.gives_months * np.nan_to_num(customers.monthly_revenue)
    # Of a binary fraction such as 12.10 a hair's breadth may lie above the hundredth.
    cost = np.ceil(np.round((action.cost_per_contact + given) * HUNDREDTHS, 6)).astype(np.int64)
    low, likely, high = (
        risk * share * customers.worth - cost / HUNDREDTHS
        for risk, share in (
            (customers.probability_low, effect.low),
            (customers.probability, effect.likely),
            (customers.probability_high, effect.high),
        )
    )
    return NetValue(low, likely, high, cost)
