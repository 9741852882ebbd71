"""Who gets what: limits hold for any offers, more is never worse, and the bound holds against the exact optimum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from pipeline.decisions.choice import NOTHING, Limits, Offers, at_most_more, choose, net_value_of

Cases = st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(0, 2**32 - 1), st.booleans())


def case(size: tuple[int, int, int, bool]) -> tuple[Offers, Limits]:
    """Offers of any kind: costs that differ, ties, offers that are closed or lose, controls; limits that bind."""
    customers, actions, seed, has_free = size
    rng = np.random.default_rng(seed)
    shape = (customers, actions)
    offers = Offers(
        net=np.round(rng.normal(4, 5, shape), rng.integers(0, 3)),
        cost=rng.integers(0 if has_free else 1, 12, shape),
        is_open=rng.random(shape) < 0.8,
        is_control=rng.random(shape) < 0.2,
    )
    capacity = tuple(None if rng.random() < 0.5 else int(rng.integers(0, 5)) for _ in range(actions))
    return offers, Limits(tuple(int(budget) for budget in rng.integers(0, 40, actions)), capacity)


def used(offers: Offers, chosen: np.ndarray, action: int) -> tuple[int, int]:
    treated = (chosen == action) & ~offers.is_control[:, action]
    return int(offers.cost[treated, action].sum()), int(treated.sum())


def exact(offers: Offers, limits: Limits) -> float:
    """The best net value of any choice, by the integer programme."""
    customers, actions = offers.net.shape
    pairs = offers.net.size
    of_customer = np.kron(np.eye(customers), np.ones(actions))
    treated = (~offers.is_control).astype(float)
    rows, most = [of_customer], [np.ones(customers)]
    for action in range(actions):
        column = np.zeros((customers, actions))
        column[:, action] = 1
        rows.append((column * treated * offers.cost).reshape(1, pairs))
        most.append(np.array([limits.budget[action]]))
        capacity = limits.capacity[action]
        rows.append((column * treated).reshape(1, pairs))
        most.append(np.array([customers if capacity is None else capacity]))
    best = optimize.milp(
        -offers.net.ravel(),
        constraints=optimize.LinearConstraint(np.vstack(rows), -np.inf, np.concatenate(most)),
        integrality=np.ones(pairs),
        bounds=optimize.Bounds(0, offers.is_open.ravel().astype(float)),
    )
    assert best.success
    return float(-best.fun)


@given(Cases)
def test_no_choice_exceeds_a_budget_or_a_capacity_or_takes_what_is_not_open(size: tuple[int, int, int, bool]) -> None:
    offers, limits = case(size)
    chosen = choose(offers, limits)
    for action, (budget, capacity) in enumerate(zip(limits.budget, limits.capacity, strict=True)):
        money, contacts = used(offers, chosen, action)
        assert money <= budget
        assert capacity is None or contacts <= capacity
    rows = np.flatnonzero(chosen != NOTHING)
    assert offers.is_open[rows, chosen[rows]].all()
    assert (offers.net[rows, chosen[rows]] > 0).all()


@given(Cases, st.integers(0, 30), st.integers(0, 3))
def test_more_money_or_capacity_leaves_every_customer_as_well_off_or_better(
    size: tuple[int, int, int, bool], money: int, contacts: int
) -> None:
    offers, limits = case(size)
    more = Limits(
        (limits.budget[0] + money, *limits.budget[1:]),
        tuple(None if each is None else each + contacts for each in limits.capacity),
    )

    def brings(chosen: np.ndarray) -> np.ndarray:
        return np.where(chosen == NOTHING, 0, offers.net[np.arange(len(chosen)), chosen])

    assert (brings(choose(offers, more)) >= brings(choose(offers, limits))).all()


@given(Cases)
def test_the_exact_optimum_lies_between_the_choice_and_its_bound(size: tuple[int, int, int, bool]) -> None:
    offers, limits = case(size)
    chosen = choose(offers, limits)
    value, best = net_value_of(offers, chosen), exact(offers, limits)
    assert value <= best + 1e-6
    assert best <= value + at_most_more(offers, limits, chosen) + 1e-6


@given(Cases)
def test_whether_a_customer_is_chosen_does_not_hang_on_whether_they_are_a_control(
    size: tuple[int, int, int, bool],
) -> None:
    offers, limits = case(size)
    is_control = offers.is_control.copy()
    is_control[0] = ~is_control[0]
    # The others' places may change with what the first one uses; the first one's own may not.
    other = Offers(offers.net, offers.cost, offers.is_open, is_control)
    assert choose(offers, limits)[0] == choose(other, limits)[0]


@given(Cases, st.randoms(use_true_random=False))
def test_the_order_of_customers_says_nothing_where_no_two_are_alike(
    size: tuple[int, int, int, bool], random: object
) -> None:
    offers, limits = case(size)
    rng = np.random.default_rng(size[2])
    distinct = offers.net + rng.random(offers.net.shape) / 1000
    shuffled = rng.permutation(len(distinct))
    plain = Offers(distinct, offers.cost, offers.is_open, offers.is_control)
    mixed = Offers(*(each[shuffled] for each in (plain.net, plain.cost, plain.is_open, plain.is_control)))
    assert choose(mixed, limits).tolist() == choose(plain, limits)[shuffled].tolist()


def test_money_goes_to_whoever_brings_most_per_cost() -> None:
    offers = Offers(
        net=np.array([[10.0], [9.0], [8.0]]),
        cost=np.array([[10], [3], [3]]),
        is_open=np.ones((3, 1), dtype=bool),
        is_control=np.zeros((3, 1), dtype=bool),
    )
    assert choose(offers, Limits((6,), (None,))).tolist() == [NOTHING, 0, 0]
    assert choose(offers, Limits((16,), (1,))).tolist() == [NOTHING, 0, NOTHING]


def test_who_is_turned_down_gets_the_next_best_action() -> None:
    offers = Offers(
        net=np.array([[10.0, 4.0], [9.0, 5.0]]),
        cost=np.array([[5, 5], [5, 5]]),
        is_open=np.ones((2, 2), dtype=bool),
        is_control=np.zeros((2, 2), dtype=bool),
    )
    assert choose(offers, Limits((5, 5), (None, None))).tolist() == [0, 1]


def test_a_control_is_chosen_and_uses_nothing() -> None:
    offers = Offers(
        net=np.array([[10.0], [9.0]]),
        cost=np.array([[5], [5]]),
        is_open=np.ones((2, 1), dtype=bool),
        is_control=np.array([[True], [False]]),
    )
    assert choose(offers, Limits((5,), (1,))).tolist() == [0, 0]


@pytest.mark.parametrize(("customers", "actions"), [(0, 2), (2, 0)])
def test_nobody_or_no_action_is_a_choice_too(customers: int, actions: int) -> None:
    shape = (customers, actions)
    offers = Offers(np.zeros(shape), np.zeros(shape, int), np.zeros(shape, bool), np.zeros(shape, bool))
    limits = Limits((0,) * actions, (None,) * actions)
    chosen = choose(offers, limits)
    assert chosen.tolist() == [NOTHING] * customers
    assert at_most_more(offers, limits, chosen) == 0
