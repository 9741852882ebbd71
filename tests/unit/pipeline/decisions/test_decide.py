"""A day's decisions: what is never done, whatever the customers and programmes, and why nothing is done."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decisions.choice import NOTHING
from pipeline.decisions.decide import Decisions, decide
from pipeline.decisions.programmes import Customers, Effect, Programme, Used, is_eligible, net_value, period_start
from warehouse.companies.actions import Action

CALL: dict[str, Any] = {
    "name": "call",
    "label": "A call",
    "channel": "call",
    "cost_per_contact": 10,
    "budget": 1000,
    "saved_share": {"low": 0.1, "likely": 0.2, "high": 0.3},
}


def customers(count: int, **columns: Any) -> Customers:
    """Customers who all leave with 0.5 and are worth 1,000, but for what is given."""
    same: dict[str, Any] = {
        "customer_id": [f"c{row}" for row in range(count)],
        "segment": ["steady"] * count,
        "risk_level": ["high"] * count,
        "plan": ["Basic"] * count,
        "probability": [0.5] * count,
        "worth": [1000.0] * count,
        "monthly_revenue": [100.0] * count,
    } | columns
    same = {"probability_low": same["probability"], "probability_high": same["probability"]} | same
    kinds = {name: object if name in ("customer_id", "segment", "risk_level", "plan") else float for name in same}
    return Customers(**{name: np.array(column, dtype=kinds[name]) for name, column in same.items()})


def programme(count: int, used: Used = Used(), is_stopped: bool = False, **said: Any) -> Programme:  # noqa: B008
    action = Action.model_validate(CALL | said)
    share = action.saved_share
    return Programme(
        action,
        Effect(share.low, share.likely, share.high),
        used,
        is_control=np.zeros(count, dtype=bool),
        draw_propensity=np.full(count, 0.9),
        explore_bucket=np.arange(count)[::-1].copy(),
        is_resting=np.zeros(count, dtype=bool),
        is_stopped=is_stopped,
    )


def nobody(count: int) -> np.ndarray:
    return np.zeros(count, dtype=bool)


def spent(decided: Decisions, place: int, where: np.ndarray) -> float:
    return float(decided.outlook.cost[where & decided.treated(place), place].sum()) / 100


@st.composite
def days(draw: st.DrawFn) -> tuple[Customers, list[Programme], np.ndarray]:
    """Any customers, one to three programmes of any settings, some of the period used, controls, rests and stops."""
    count = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    risk = rng.random(count)
    people = customers(
        count,
        segment=rng.choice(["vip", "steady", "lost"], count),
        probability=risk,
        probability_low=risk * 0.8,
        probability_high=np.minimum(1, risk * 1.2),
        worth=np.where(rng.random(count) < 0.1, np.nan, rng.normal(300, 300, count)),
    )
    programmes = []
    for name in draw(st.sampled_from([["a"], ["a", "b"], ["a", "b", "c"]])):
        low, likely, high = sorted(rng.random(3) * 0.5)
        made = programme(
            count,
            used=Used(int(rng.integers(0, 5000)), int(rng.integers(0, 3)), int(rng.integers(0, 900)), 0),
            is_stopped=bool(rng.random() < 0.1),
            name=name,
            cost_fixed=float(rng.choice([0, 50])),
            cost_per_contact=float(np.round(rng.random() * 30, 2)),
            gives_price_share=0.1,
            gives_months=2,
            budget=float(rng.integers(0, 400)),
            capacity=None if rng.random() < 0.5 else int(rng.integers(0, 10)),
            eligible={"segments": ["vip", "steady"]},
            saved_share={"low": low, "likely": likely, "high": high},
            explore_share=float(rng.choice([0, 0.2])),
        )
        programmes.append(replace(made, is_control=rng.random(count) < 0.3, is_resting=rng.random(count) < 0.2))
    return people, programmes, rng.random(count) < 0.2


@given(days())
def test_no_budget_no_capacity_no_control_no_rest_is_ever_broken(
    day: tuple[Customers, list[Programme], np.ndarray],
) -> None:
    people, programmes, stands = day
    decided = decide(people, programmes, stands)
    assert (decided.chosen[stands] == NOTHING).all()
    for place, each in enumerate(programmes):
        new = decided.treated(place)
        assert not (new & each.is_control).any()
        chosen = decided.chosen == place
        assert not (chosen & each.is_resting).any()
        assert not (each.is_stopped and chosen.any())
        assert not (chosen & ~is_eligible(people, each.action)).any()
        fixed = each.action.cost_fixed if new.any() else 0
        before = (each.used.spent + each.used.explored_spent) / 100
        if new.any():
            assert before + fixed + spent(decided, place, new) <= each.action.budget + 1e-9
        if new.any() and each.action.capacity is not None:
            assert each.used.treated + each.used.explored + new.sum() <= each.action.capacity


@given(days())
def test_money_goes_only_where_the_cautious_bound_earns_or_the_share_for_learning_goes(
    day: tuple[Customers, list[Programme], np.ndarray],
) -> None:
    people, programmes, stands = day
    decided = decide(people, programmes, stands)
    for place, each in enumerate(programmes):
        values = net_value(people, each.action, each.effect)
        exploited = (decided.chosen == place) & ~decided.is_explored
        explored = (decided.chosen == place) & decided.is_explored
        assert (values.low[exploited] > 0).all()
        assert (values.likely[explored] > 0).all()
        assert not (explored.any() and each.action.explore_share == 0)
        learned = (each.used.explored_spent / 100) + spent(decided, place, explored)
        if spent(decided, place, explored) > 0:
            assert learned <= each.action.budget * each.action.explore_share + 1e-9
        treated = exploited & decided.treated(place)
        if treated.any() and not each.has_paid_fixed and each.action.cost_fixed > 0:
            assert values.low[treated].sum() > each.action.cost_fixed


@given(days())
def test_the_same_day_gives_the_same_decisions(day: tuple[Customers, list[Programme], np.ndarray]) -> None:
    first, again = decide(*day), decide(*day)
    assert first.chosen.tolist() == again.chosen.tolist()
    assert np.array_equal(first.propensity, again.propensity, equal_nan=True)


@given(days(), st.integers(0, 500))
def test_more_budget_never_brings_less_net_value(day: tuple[Customers, list[Programme], np.ndarray], more: int) -> None:
    people, programmes, stands = day
    plain = [
        replace(each, action=each.action.model_copy(update={"cost_fixed": 0.0, "explore_share": 0.0}))
        for each in programmes
    ]
    richer = [
        replace(each, action=each.action.model_copy(update={"budget": each.action.budget + more})) for each in plain
    ]

    def brings(decided: Decisions) -> float:
        rows = np.flatnonzero(decided.chosen != NOTHING)
        return float(decided.outlook.column("likely")[rows, decided.chosen[rows]].sum())

    assert brings(decide(people, richer, stands)) >= brings(decide(people, plain, stands)) - 1e-9


def test_net_value_is_the_change_of_outcome_times_its_worth_less_the_cost() -> None:
    action = programme(1, gives_price_share=0.2, gives_months=2).action
    values = net_value(customers(1), action, Effect(0.1, 0.2, 0.3))
    # 10 for the call, a fifth of two months at 100; half would leave, each worth 1,000.
    assert values.cost.tolist() == [5000]
    assert (values.low[0], values.likely[0], values.high[0]) == pytest.approx((0.0, 50.0, 100.0))


def test_nothing_earns_where_only_the_likely_effect_does() -> None:
    decided = decide(customers(3, worth=[150.0] * 3), [programme(3)], nobody(3))
    assert decided.chosen.tolist() == [NOTHING] * 3


def test_the_share_for_learning_goes_there_by_chance_with_its_propensity() -> None:
    decided = decide(customers(4, worth=[150.0] * 4), [programme(4, budget=100, explore_share=0.2)], nobody(4))
    assert decided.chosen.tolist() == [NOTHING, NOTHING, 0, 0]
    assert decided.is_explored.tolist() == [False, False, True, True]
    assert decided.propensity[2:].tolist() == [0.45, 0.45]


def test_a_programme_begins_only_where_it_earns_its_fixed_cost() -> None:
    # Each brings 40 by the cautious bound.
    assert decide(customers(2), [programme(2, cost_fixed=80)], nobody(2)).chosen.tolist() == [NOTHING] * 2
    assert decide(customers(2), [programme(2, cost_fixed=79)], nobody(2)).chosen.tolist() == [0, 0]
    paid = programme(2, used=Used(1000, 1), cost_fixed=80)
    assert decide(customers(2), [paid], nobody(2)).chosen.tolist() == [0, 0]
    assert decide(customers(2), [programme(2, cost_fixed=79, budget=78)], nobody(2)).closed.tolist() == [True]


def test_eligibility_is_what_the_company_declared() -> None:
    people = customers(
        4,
        segment=["vip", "lost", "vip", "vip"],
        plan=["Pro", "Pro", "Basic", "Pro"],
        probability=[0.5, 0.5, 0.5, 0.1],
        risk_level=["high", "high", "high", "low"],
        worth=[900.0, 900.0, 900.0, 900.0],
    )
    for eligible, expected in (
        ({}, [1, 1, 1, 1]),
        ({"segments": ["vip"]}, [1, 0, 1, 1]),
        ({"segments": ["vip"], "plans": ["Pro"]}, [1, 0, 0, 1]),
        ({"risk_levels": ["high", "medium"]}, [1, 1, 1, 0]),
        ({"smallest_risk": 0.2}, [1, 1, 1, 0]),
        ({"smallest_value": 901}, [0, 0, 0, 0]),
    ):
        action = programme(4, eligible=eligible).action
        assert is_eligible(people, action).astype(int).tolist() == expected, eligible


@pytest.mark.parametrize(
    ("period", "start"), [("week", date(2026, 2, 9)), ("month", date(2026, 2, 1)), ("quarter", date(2026, 1, 1))]
)
def test_a_period_begins_with_its_week_month_or_quarter(period: Any, start: date) -> None:
    assert period_start(date(2026, 2, 11), period) == start
