"""The base rate of a newly mature date against the dates that a model learned from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.judging.base_rate import FALSE_ALARMS, DateOutcomes, RateDrift, measure_rate


def dates(entities: int, *rates: float) -> list[DateOutcomes]:
    return [
        DateOutcomes(f"2025-{month:02d}-01", entities, round(entities * rate))
        for month, rate in enumerate(rates, start=1)
    ]


def newest(entities: int, rate: float) -> list[DateOutcomes]:
    return [DateOutcomes("2026-01-01", entities, round(entities * rate))]


def measured(training: list[DateOutcomes], since: list[DateOutcomes]) -> RateDrift:
    drift = measure_rate(training, since)
    assert drift is not None
    return drift


@pytest.mark.parametrize(
    ("training", "rate", "is_drifted"),
    [
        ([0.06, 0.07, 0.06, 0.065, 0.06, 0.07, 0.06, 0.065], 0.308, True),
        ([0.06, 0.07, 0.06, 0.065, 0.06, 0.07, 0.06, 0.065], 0.07, False),
        ([0.30, 0.31, 0.30, 0.29, 0.30, 0.31], 0.06, True),
        # Unsteady months: Student's t alone would allow every rate.
        ([0.02, 0.2, 0.03, 0.15], 0.75, True),
        ([0.02, 0.2, 0.03, 0.15], 0.2, False),
        # Two dates know nothing of a season: doubled odds are the ceiling.
        ([0.06, 0.06], 0.08, False),
        ([0.06, 0.06], 0.2, True),
        ([0.06], 0.2, True),
        # A company whose rate swings each year.
        ([0.05, 0.05, 0.05, 0.2, 0.2, 0.05, 0.05, 0.05, 0.05, 0.2, 0.2, 0.05], 0.2, False),
    ],
)
def test_a_rate_is_held_against_its_own_past_and_a_ceiling(
    training: list[float], rate: float, is_drifted: bool
) -> None:
    drift = measured(dates(2_000, *training), newest(2_000, rate))

    assert drift.is_drifted is is_drifted
    assert (drift.psi > drift.usual) is is_drifted


def test_few_outcomes_allow_much() -> None:
    assert not measured(dates(40, 0.05, 0.05, 0.075, 0.05), newest(40, 0.15)).is_drifted


def test_the_newest_mature_date_is_judged_and_none_without_one() -> None:
    since = [*newest(500, 0.5), DateOutcomes("2025-12-01", 500, 25), DateOutcomes("2026-02-01", 0, 0)]

    assert measured(dates(500, 0.05, 0.05), since).newest.as_of_date == "2026-01-01"
    assert measure_rate(dates(500, 0.05), []) is None
    assert measure_rate([], newest(500, 0.05)) is None


@given(rate=st.floats(0.02, 0.98), entities=st.integers(50, 5_000), months=st.integers(1, 14), chosen=st.floats(0, 1))
def test_a_verdict_is_the_same_in_odds_and_in_the_index(rate: float, entities: int, months: int, chosen: float) -> None:
    drift = measured(dates(entities, *[rate] * months), newest(entities, chosen))

    assert (drift.psi > drift.usual) is drift.is_drifted
    assert 0 < drift.in_training < 1


@pytest.mark.parametrize("months", [2, 6, 14])
def test_a_stable_rate_is_called_drifted_hardly_ever(months: int) -> None:
    random = np.random.default_rng(7)
    draws = random.binomial(400, 0.08, size=(2_000, months + 1))
    alarms = 0
    for draw in draws:
        days = [DateOutcomes(f"2025-{month:02d}-01", 400, int(count)) for month, count in enumerate(draw)]
        alarms += measured(days[:-1], days[-1:]).is_drifted

    assert alarms / len(draws) <= 2 * FALSE_ALARMS
