"""From customers and programmes to a decision for each customer. Pure: no database, no clock, no chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_assets.frames import FloatArray
from pipeline.decisions.choice import (
    HUNDREDTHS,
    NOTHING,
    BoolArray,
    IntArray,
    Limits,
    Offers,
    at_most_more,
    choose,
)
from pipeline.decisions.programmes import Customers, NetValue, Programme, is_eligible, net_value

WEAKER = 0.8
"""The share of the effect that is left in the plan's figure of sensitivity."""
MORE = 0.1
"""The share of budget and capacity that is added in the plan's figure of what more money would bring."""


@dataclass(frozen=True)
class Outlook:
    """All programmes laid beside all customers: values by programme, and (customers, programmes) flags.

    `eligible`: the action is meant for them and the programme runs; `may_begin`: neither does it rest, nor does an
    earlier decision of this period stand.
    """

    values: tuple[NetValue, ...]
    eligible: BoolArray
    may_begin: BoolArray
    is_control: BoolArray

    def column(self, bound: str) -> FloatArray:
        """A bound (low, likely, high) of every net value, (customers, programmes)."""
        return np.column_stack([getattr(value, bound) for value in self.values])

    @property
    def cost(self) -> IntArray:
        """What each would cost, in hundredths, (customers, programmes)."""
        return np.column_stack([value.cost for value in self.values])

    def offers(self, closed: BoolArray) -> Offers:
        """Where the cautious bound earns, but for closed programmes, (programmes,)."""
        likely = np.nan_to_num(self.column("likely"))
        with np.errstate(invalid="ignore"):
            earns = self.column("low") > 0
        return Offers(likely, self.cost, self.may_begin & earns & ~closed, self.is_control)


@dataclass(frozen=True)
class Decisions:
    """What was newly decided, all (customers,), and what it means for each programme, all (programmes,).

    `chosen`: the programme's place, or NOTHING. `closed`: its choice would not have earned its fixed cost.
    `more`: the treated customers' net value with MORE budget and capacity for every programme.
    """

    outlook: Outlook
    chosen: IntArray
    is_explored: BoolArray
    propensity: FloatArray
    closed: BoolArray
    more: FloatArray
    at_most_more: float

    @property
    def is_control(self) -> BoolArray:
        """Whether chance leaves the customer alone in the programme chosen for them."""
        in_control = self.outlook.is_control[np.arange(len(self.chosen)), self.chosen]
        left_alone: BoolArray = in_control & (self.chosen != NOTHING)
        return left_alone

    def treated(self, programme: int) -> BoolArray:
        """Whom the programme newly treats."""
        chosen: BoolArray = self.chosen == programme
        return chosen & ~self.is_control


def decide(customers: Customers, programmes: Sequence[Programme], stands: BoolArray) -> Decisions:
    """Choose what begins today, of one programme or more. `stands`: an earlier decision of the period stands for the
    customer, (customers,).

    Money goes where the cautious bound earns, the share for learning aside. Never is a control treated, a budget or a
    capacity exceeded, or somebody chosen within a cool-down.
    """
    outlook = _outlook(customers, programmes, stands)
    closed = np.array([_is_beyond_budget(each) for each in programmes])
    while True:
        limits = _limits(programmes, closed)
        offers = outlook.offers(closed)
        chosen = choose(offers, limits)
        lacking = _shortfalls(outlook, programmes, chosen)
        if lacking.max() < 0:
            break
        closed[int(lacking.argmax())] = True
    explored, propensity = _explore(outlook, programmes, chosen, closed)
    taken = np.where(explored == NOTHING, chosen, explored)
    more = choose(offers, _limits(programmes, closed, 1 + MORE))
    likely = outlook.column("likely")
    treated_more = [(more == place) & ~outlook.is_control[:, place] for place in range(len(programmes))]
    return Decisions(
        outlook,
        taken,
        explored != NOTHING,
        propensity,
        closed,
        np.array([likely[rows, place].sum() for place, rows in enumerate(treated_more)]),
        at_most_more(offers, limits, chosen),
    )


def _outlook(customers: Customers, programmes: Sequence[Programme], stands: BoolArray) -> Outlook:
    runs = [is_eligible(customers, each.action) & (not each.is_stopped) for each in programmes]
    eligible = np.column_stack(runs)
    resting = np.column_stack([each.is_resting for each in programmes])
    return Outlook(
        tuple(net_value(customers, each.action, each.effect) for each in programmes),
        eligible,
        eligible & ~resting & ~stands[:, None],
        np.column_stack([each.is_control for each in programmes]),
    )


def _is_beyond_budget(programme: Programme) -> bool:
    """The fixed cost alone, still to be paid, exceeds the period's budget."""
    exploits = 1 - programme.action.explore_share
    return not programme.has_paid_fixed and programme.action.cost_fixed > programme.action.budget * exploits


def _hundredths(money: float) -> int:
    return int(np.floor(round(money * HUNDREDTHS, 6)))


def _fixed(money: float) -> int:
    return int(np.ceil(round(money * HUNDREDTHS, 6)))


def _limits(programmes: Sequence[Programme], closed: BoolArray, share: float = 1.0) -> Limits:
    """What is left for where the cautious bound earns, budget and capacity times a share: the period's, less what was
    used, less a fixed cost whether paid or to be paid, less the part for learning.
    """
    budgets: list[int] = []
    capacities: list[int | None] = []
    for programme, is_closed in zip(programmes, closed, strict=True):
        action, exploits = programme.action, 1 - programme.action.explore_share
        left = min(
            _money_left(programme, share),
            _hundredths(action.budget * share * exploits) - _fixed(action.cost_fixed) - programme.used.spent,
        )
        budgets.append(0 if is_closed else max(0, left))
        if action.capacity is None:
            capacities.append(None)
            continue
        of_exploits = int(action.capacity * share * exploits) - programme.used.treated
        capacities.append(max(0, min(_contacts_left(programme, share), of_exploits)))
    return Limits(tuple(budgets), tuple(capacities))


def _money_left(programme: Programme, share: float = 1.0) -> int:
    """Of the whole budget times a share, in hundredths; settings may have changed within the period."""
    used = programme.used.spent + programme.used.explored_spent
    return _hundredths(programme.action.budget * share) - _fixed(programme.action.cost_fixed) - used


def _contacts_left(programme: Programme, share: float = 1.0) -> int:
    capacity = int((programme.action.capacity or 0) * share)
    return capacity - programme.used.treated - programme.used.explored


def _shortfalls(outlook: Outlook, programmes: Sequence[Programme], chosen: IntArray) -> FloatArray:
    """What each programme that begins in its period lacks to earn more than its fixed cost; below 0 where it earns it.

    (programmes,), and minus infinity where nothing has to be earned.
    """
    low = outlook.column("low")
    lacking = np.full(len(programmes), -np.inf)
    for place, programme in enumerate(programmes):
        treated = (chosen == place) & ~outlook.is_control[:, place]
        if treated.any() and not programme.has_paid_fixed and programme.action.cost_fixed > 0:
            lacking[place] = programme.action.cost_fixed - low[treated, place].sum()
    return lacking


def _explore(
    outlook: Outlook, programmes: Sequence[Programme], chosen: IntArray, closed: BoolArray
) -> tuple[IntArray, FloatArray]:
    """Whom the share for learning takes, by chance, where only the likely effect earns; and everybody's propensity.

    Only in a programme whose fixed cost is paid by those for whom the cautious bound earns, or that has none.
    """
    explored = np.full(len(chosen), NOTHING)
    propensity = np.full(len(chosen), np.nan)
    low, likely = outlook.column("low"), outlook.column("likely")
    for place, programme in enumerate(programmes):
        drawn = chosen == place
        propensity[drawn] = programme.draw_propensity[drawn]
        begins = programme.has_paid_fixed or (drawn & ~outlook.is_control[:, place]).any()
        if closed[place] or (programme.action.cost_fixed > 0 and not begins):
            continue
        with np.errstate(invalid="ignore"):
            pool = outlook.may_begin[:, place] & (likely[:, place] > 0) & ~(low[:, place] > 0)
        pool &= (chosen == NOTHING) & (explored == NOTHING)
        taken = _tried(outlook, programme, place, chosen, np.flatnonzero(pool))
        explored[taken] = place
        propensity[taken] = programme.draw_propensity[taken] * len(taken) / max(1, int(pool.sum()))
    return explored, propensity


def _tried(outlook: Outlook, programme: Programme, place: int, chosen: IntArray, pool: IntArray) -> IntArray:
    """Of a pool, those whom chance puts first, as far as the share for learning goes."""
    action, share = programme.action, programme.action.explore_share
    new = (chosen == place) & ~outlook.is_control[:, place]
    budget = min(
        _hundredths(action.budget * share) - programme.used.explored_spent,
        _money_left(programme) - int(outlook.cost[new, place].sum()),
    )
    capacity = len(pool)
    if action.capacity is not None:
        of_learning = int(action.capacity * share) - programme.used.explored
        capacity = min(of_learning, _contacts_left(programme) - int(new.sum()))
    if share == 0:
        return pool[:0]
    by_chance = pool[np.lexsort((pool, programme.explore_bucket[pool]))]
    cost = outlook.cost[by_chance, place]
    treated = ~outlook.is_control[by_chance, place]
    used = np.where(treated, cost, 0)
    fits = np.cumsum(used) - used + cost <= budget
    fits &= np.cumsum(treated) - treated + 1 <= capacity
    tried: IntArray = by_chance[fits]
    return tried
