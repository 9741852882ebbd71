"""Segments: each rule in its order, and nobody who stands near a limit flickers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.lifetime.segments import SEGMENTS, Standing, causes_of_moves, segments_of, vip_threshold


def customer(
    *,
    there: bool = True,
    paid: bool = True,
    value: float = 50.0,
    alive: float = float("nan"),
    risk: str = "low",
    before: str = "",
) -> Standing:
    """One customer, by default a steady one at a threshold of 100."""
    return Standing(
        np.array([there]),
        np.array([paid]),
        np.array([value]),
        np.array([alive]),
        np.array([risk], dtype=object),
        np.array([before], dtype=object),
    )


@pytest.mark.parametrize(
    ("standing", "segment"),
    [
        (customer(), "steady"),
        (customer(value=100), "vip"),
        (customer(value=float("nan")), "steady"),
        (customer(value=100, risk="high"), "at_risk"),
        (customer(paid=False), "prospect"),
        (customer(there=False, value=500, risk="high"), "lost"),
        (customer(alive=0.1, value=500), "lost"),
        (customer(risk=""), "steady"),
        (customer(value=90, before="vip"), "vip"),
        (customer(value=79, before="vip"), "steady"),
        (customer(risk="medium", before="at_risk"), "at_risk"),
        (customer(risk="medium", before="steady"), "steady"),
        (customer(risk="low", before="at_risk"), "steady"),
        (customer(alive=0.3, before="lost"), "lost"),
        (customer(alive=0.3, before="steady"), "steady"),
        (customer(alive=0.4, before="lost"), "steady"),
    ],
)
def test_each_rule_has_its_segment(standing: Standing, segment: str) -> None:
    assert segments_of(standing, vip_from=100) == [segment]


@given(
    st.booleans(),
    st.booleans(),
    st.floats(0, 300),
    st.one_of(st.just(float("nan")), st.floats(0, 1)),
    st.sampled_from(["", "low", "medium", "high"]),
    st.sampled_from(["", *SEGMENTS]),
)
def test_who_has_not_changed_stays_where_they_are(
    there: bool, paid: bool, value: float, alive: float, risk: str, before: str
) -> None:
    given_standing = {"there": there, "paid": paid, "value": value, "alive": alive, "risk": risk}
    (once,) = segments_of(customer(**given_standing, before=before), vip_from=100)
    (again,) = segments_of(customer(**given_standing, before=once), vip_from=100)
    assert again == once


@pytest.mark.parametrize(
    ("standing", "now", "cause"),
    [
        (customer(there=False, before="vip"), "lost", "left"),
        (customer(alive=0.1, before="vip"), "lost", "fell_silent"),
        (customer(before="lost"), "steady", "came_back"),
        (customer(before="prospect"), "steady", "first_purchase"),
        (customer(risk="high", before="vip"), "at_risk", "risk_rose"),
        (customer(before="at_risk"), "steady", "risk_fell"),
        (customer(value=120, before="steady"), "vip", "value_rose"),
        (customer(value=20, before="vip"), "steady", "value_fell"),
    ],
)
def test_each_move_has_its_cause(standing: Standing, now: str, cause: str) -> None:
    assert causes_of_moves(standing, np.array([now], dtype=object)) == [cause]


def test_a_tenth_of_those_who_pay_and_are_there_is_worth_most() -> None:
    count = 101
    standing = Standing(
        np.array([True] * 100 + [False]),
        np.full(count, True),
        np.append(np.arange(1.0, 101.0), 1e9),
        np.full(count, np.nan),
        np.full(count, "low", dtype=object),
        np.full(count, "", dtype=object),
    )
    threshold = vip_threshold(standing)
    assert threshold == pytest.approx(90.1)
    assert (segments_of(standing, threshold) == "vip").sum() == 10


def test_where_nobody_brings_anything_nobody_is_a_vip() -> None:
    assert vip_threshold(customer(value=0)) is None
    assert vip_threshold(customer(value=float("nan"))) is None
