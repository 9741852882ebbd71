"""Which effect decisions count with: what is believed, or what was measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decisions.programmes import Effect, better_known, share_saved

BELIEVED = Effect(0.05, 0.1, 0.2)


@pytest.mark.parametrize(
    ("low", "likely", "high", "rests_on"),
    [
        (0.08, 0.12, 0.16, "measured"),  # narrower
        (-0.4, 0.1, 0.6, "believed"),  # few outcomes yet
        (-0.9, -0.5, 0.04, "measured"),  # wide, and the belief is wrong all the same
        (0.3, 0.6, 0.9, "measured"),
        (-0.1, 0.0, 0.05, "measured"),  # as wide
    ],
)
def test_what_was_measured_counts_once_it_says_more_or_shows_the_belief_wrong(
    low: float, likely: float, high: float, rests_on: str
):
    counts = better_known(BELIEVED, Effect(low, likely, high, "measured"))
    assert counts.rests_on == rests_on
    assert counts in (BELIEVED, Effect(low, likely, high, "measured"))


def test_until_anything_is_measured_the_belief_counts():
    assert better_known(BELIEVED, None) is BELIEVED


def test_the_share_saved_is_of_those_who_would_leave():
    """Of 100 controls 20 leave, of 100 treated 15: five in twenty were kept."""
    effect = share_saved(0.01, 0.05, 0.09, controls_leave=0.2)
    assert (effect.low, effect.likely, effect.high) == pytest.approx((0.05, 0.25, 0.45))
    assert effect.rests_on == "measured"


@given(
    shares=st.lists(st.floats(-1, 1), min_size=3, max_size=3).map(sorted),
    controls_leave=st.floats(0.01, 1),
)
def test_a_measured_effect_keeps_its_order_and_sign(shares: list[float], controls_leave: float):
    effect = share_saved(*shares, controls_leave=controls_leave)
    assert effect.low <= effect.likely <= effect.high
    assert (effect.likely > 0) == (shares[1] > 0)
