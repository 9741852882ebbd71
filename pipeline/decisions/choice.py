"""Which customer gets which action, within every action's budget and capacity. Pure: arrays in, arrays out.

Each customer asks for the action that brings most for them; each action takes those who ask in the order of net value
per cost, until its budget or its capacity is used up; who is turned down asks for the next best. That is deferred
acceptance (Gale and Shapley, "College admissions and the stability of marriage", 1962) with budgets. Who is turned down
among few is turned down among more, and an action with more money turns down nobody whom it took before: so more money
or capacity leaves every customer as well off as they were, or better.

Whether a customer is a control plays no part in whether they are chosen: chosen controls are alike the chosen others.
They use no budget and no capacity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_assets.frames import FloatArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

NOTHING = -1
HUNDREDTHS = 100


@dataclass(frozen=True)
class Offers:
    """What each action would do for each customer, all (customers, actions).

    `net`: net value by the likely effect. `cost`: in hundredths, 0 or more. `is_open`: it may be chosen.
    `is_control`: chance leaves the customer alone.
    """

    net: FloatArray
    cost: IntArray
    is_open: BoolArray
    is_control: BoolArray


@dataclass(frozen=True)
class Limits:
    """What each action may still use, both (actions,): money in hundredths, and customers; None where unlimited."""

    budget: tuple[int, ...]
    capacity: tuple[int | None, ...]


def choose(offers: Offers, limits: Limits) -> IntArray:
    """The action of each customer, as its column in `offers`, or NOTHING; (customers,).

    Only open offers with a positive net value are chosen. The same offers give the same choice.
    """
    customers, actions = offers.net.shape
    wanted = np.where(offers.is_open & (offers.net > 0), offers.net, -np.inf)
    preference = np.argsort(-wanted, axis=1, kind="stable")
    options = np.isfinite(wanted).sum(axis=1)
    orders = [_order(offers, action) for action in range(actions)]
    asked = np.zeros((customers, actions), dtype=bool)
    taken = np.zeros((customers, actions), dtype=bool)
    asked_so_far = np.zeros(customers, dtype=np.int64)
    while (turned_down := np.flatnonzero(~taken.any(axis=1) & (asked_so_far < options))).size:
        asked[turned_down, preference[turned_down, asked_so_far[turned_down]]] = True
        asked_so_far[turned_down] += 1
        for action, order in enumerate(orders):
            taken[order, action] = _take(offers, limits, action, order, asked)
    return np.where(taken.any(axis=1), taken.argmax(axis=1), NOTHING) if actions else np.full(customers, NOTHING)


def at_most_more(offers: Offers, limits: Limits, chosen: IntArray) -> float:
    """How much more net value any other choice within the limits could bring, at most; 0 or more.

    By duality: at whatever price of money and of a contact, what the limits are worth plus what each customer would
    bring beyond the price of their best action is no less than the net value of any choice. Prices are those at which
    each action turned down its first customer.
    """
    of_money, of_contacts = _prices(offers, limits, chosen)
    treated = ~offers.is_control
    beyond = offers.net - treated * (of_money * offers.cost + of_contacts)
    best = np.where(offers.is_open, beyond, 0).max(axis=1, initial=0)
    limits_worth = sum(
        money * budget + (contacts * capacity if capacity is not None else 0)
        for money, contacts, budget, capacity in zip(of_money, of_contacts, limits.budget, limits.capacity, strict=True)
    )
    return max(0.0, float(limits_worth + best.sum()) - net_value_of(offers, chosen))


def net_value_of(offers: Offers, chosen: IntArray) -> float:
    """The net value of a choice, controls counted as if they were treated."""
    rows = np.flatnonzero(chosen != NOTHING)
    return float(offers.net[rows, chosen[rows]].sum())


def _order(offers: Offers, action: int) -> IntArray:
    """The rows by net value per cost, highest first; what costs nothing comes before all else, by net value."""
    cost, net = offers.cost[:, action], offers.net[:, action]
    per_cost = np.where(cost > 0, net / np.maximum(cost, 1), np.inf)
    return np.lexsort((np.arange(len(net)), -net, -per_cost))


def _take(offers: Offers, limits: Limits, action: int, order: IntArray, asked: BoolArray) -> BoolArray:
    """Of the rows in this order, those that the action takes among all who ever asked for it.

    What is used before a row counts those who were turned down, too: so the first for whom nothing is left closes the
    action, and a smaller one behind is not drawn forward, or more money could turn somebody down.
    """
    asks, cost = asked[order, action], offers.cost[order, action]
    treated = asks & ~offers.is_control[order, action]
    used = np.where(treated, cost, 0)
    fits = np.cumsum(used) - used + cost <= limits.budget[action]
    capacity = limits.capacity[action]
    if capacity is not None:
        fits &= np.cumsum(treated) - treated + 1 <= capacity
    taken: BoolArray = asks & fits
    return taken


def _prices(offers: Offers, limits: Limits, chosen: IntArray) -> tuple[FloatArray, FloatArray]:
    """What a hundredth of money and a contact are worth at each action's margin, both (actions,); 0 where all fit."""
    actions = offers.net.shape[1]
    of_money, of_contacts = np.zeros(actions), np.zeros(actions)
    alone = chosen == NOTHING
    for action in range(actions):
        turned_down = alone & offers.is_open[:, action] & (offers.net[:, action] > 0) & ~offers.is_control[:, action]
        if not turned_down.any():
            continue
        used = int(((chosen == action) & ~offers.is_control[:, action]).sum())
        if limits.capacity[action] is not None and used >= (limits.capacity[action] or 0):
            of_contacts[action] = offers.net[turned_down, action].max()
        else:
            cost = np.maximum(offers.cost[turned_down, action], 1)
            of_money[action] = (offers.net[turned_down, action] / cost).max()
    return of_money, of_contacts
