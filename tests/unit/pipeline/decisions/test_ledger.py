"""The ledger of a programme: what it counts, when it says a range, and that its ranges hold the truth."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from pipeline.decisions.ledger import Outcomes, is_enough, ledger_of

TODAY = date(2026, 6, 1)


def programme(count: int, left_alone: float, treated: float, seed: int = 1, known: float = 1.0) -> Outcomes:
    """Customers worth 1,000 each, treated nine of ten at a cost of 20, of whom so many leave."""
    rng = np.random.default_rng(seed)
    is_treated = rng.random(count) < 0.9
    decided = [TODAY - timedelta(days=100 - row * 60 // count) for row in range(count)]
    return Outcomes(
        is_known=np.arange(count) < known * count,
        is_treated=is_treated,
        left=rng.random(count) < np.where(is_treated, treated, left_alone),
        propensity=np.full(count, 0.9),
        worth=np.full(count, 1000.0),
        cost=np.full(count, 20.0),
        promised=np.full(count, 30.0),
        month=np.array([day.replace(day=1).isoformat() for day in decided], dtype=object),
        segment=np.where(np.arange(count) % 2 == 0, "vip", "steady").astype(object),
        decided_on=np.array(decided, dtype=object),
    )


def lines(outcomes: Outcomes) -> dict[tuple[str, str], dict[str, Any]]:
    return {(line["scope"], line["part"]): line for line in ledger_of(outcomes, TODAY, 30)}


def test_counts_of_months_and_of_segments_add_up_to_the_programme() -> None:
    ledger = lines(programme(3000, 0.3, 0.2, known=0.7))
    for name in ("enrolled", "matured", "treated", "controls", "treated_left", "controls_left", "promised", "spent"):
        whole = ledger["programme", "all"][name]
        for scope in ("month", "segment"):
            parts = [line[name] for (of, _), line in ledger.items() if of == scope]
            assert sum(parts) == pytest.approx(whole), (scope, name)


def test_earned_is_the_difference_in_what_customers_bring_less_the_cost() -> None:
    whole = lines(programme(20_000, 0.3, 0.2))["programme", "all"]
    # A tenth of the customers saved, worth 1,000 each, at a cost of 20: 80 for each treated one.
    assert whole["earned"] / whole["treated"] == pytest.approx(80, abs=25)
    assert whole["earned_low"] < 80 * whole["treated"] < whole["earned_high"]
    assert whole["saved_low"] < 0.1 < whole["saved_high"]


def test_an_action_that_does_nothing_costs_what_it_costs() -> None:
    held = 0
    for seed in range(60):
        whole = lines(programme(2000, 0.2, 0.2, seed))["programme", "all"]
        held += whole["earned_low"] <= -20 * whole["treated"] <= whole["earned_high"]
    assert held >= 55


def test_nothing_is_said_of_few() -> None:
    whole = lines(programme(300, 0.3, 0.2))["programme", "all"]
    assert whole["controls"] < 50
    assert whole["earned"] is None
    assert whole["saved"] is None


def test_a_range_takes_enough_of_both_groups_who_stayed_and_who_left() -> None:
    is_treated = np.arange(200) < 100
    stays = np.ones(200)
    assert not is_enough(is_treated, stays)
    stays[:10] = 0
    assert not is_enough(is_treated, stays)
    stays[100:110] = 0
    assert is_enough(is_treated, stays)
    assert not is_enough(np.arange(200) < 160, np.zeros(200))


def test_the_end_is_expected_at_the_pace_so_far_and_a_horizon_later() -> None:
    whole = lines(programme(1500, 0.3, 0.2))["programme", "all"]
    assert whole["customers_needed"] > 1500
    days = (whole["expected_end"] - TODAY).days
    assert days == int((whole["customers_needed"] - 1500) / 15 + 30)
