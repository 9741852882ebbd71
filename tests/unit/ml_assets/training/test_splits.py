"""Dates are shared out by time, with a gap of one horizon between the parts."""

from datetime import date, timedelta
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.task import SplitSettings
from ml_assets.training.splits import (
    DateCounts,
    NoSplit,
    Part,
    TimeSplit,
    buckets_of,
    count_by_date,
    inner_split,
    rows_on,
    split_by_entity,
    split_by_time,
)
from tests.unit.ml_assets.ml_world import month_starts

SETTINGS = SplitSettings()


def _months(count: int, outcomes: int = 50, rows: int = 1000) -> list[DateCounts]:
    return [DateCounts(day, rows, outcomes) for day in month_starts(count)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), min_size=1, max_size=40),
    st.sampled_from([7, 30, 90, 180]),
    st.sampled_from([7, 30]),
)
def test_no_part_ever_reaches_into_the_days_of_the_next(
    sizes: list[tuple[int, int]], horizon_days: int, step: int
) -> None:
    days = [
        DateCounts(date(2024, 1, 1) + timedelta(days=step * number), rows + outcomes, outcomes)
        for number, (rows, outcomes) in enumerate(sizes)
    ]
    split = split_by_time(days, horizon_days=horizon_days, settings=SETTINGS)
    if isinstance(split, NoSplit):
        return
    parts = [part for part in (split.fit, split.calibrate, split.test) if part]
    for earlier, later in pairwise(parts):
        assert max(earlier) + timedelta(days=horizon_days) <= min(later)
    used = [day for part in (*parts, split.unused) for day in part]
    assert sorted(used) == [day.as_of_date for day in days]
    by_day = {day.as_of_date: day for day in days}
    for part in parts:
        outcomes = sum(by_day[day].outcomes for day in part)
        others = sum(by_day[day].rows for day in part) - outcomes
        assert min(outcomes, others) >= SETTINGS.minimum_outcomes


def test_a_horizon_that_touches_the_next_date_needs_no_unused_date_between() -> None:
    split = split_by_time(_months(20), horizon_days=28, settings=SETTINGS)
    assert isinstance(split, TimeSplit)
    assert split.unused == ()
    assert (split.mode, len(split.fit), len(split.calibrate), len(split.test)) == ("three_way", 14, 3, 3)


def test_a_horizon_of_ninety_days_leaves_the_months_between_unused() -> None:
    split = split_by_time(_months(20), horizon_days=90, settings=SETTINGS)
    assert isinstance(split, TimeSplit)
    assert [day.month for day in split.unused] == [2, 3, 4, 8, 9]
    assert (split.fit[-1], split.calibrate[0]) == (date(2025, 1, 1), date(2025, 5, 1))


def test_a_short_history_gives_up_calibration_dates_and_says_so() -> None:
    split = split_by_time(_months(2), horizon_days=30, settings=SETTINGS)
    assert isinstance(split, TimeSplit)
    assert (split.mode, split.calibrate, len(split.fit), len(split.test)) == ("two_way", (), 1, 1)
    assert "too short a history" in split.note


def test_too_few_outcomes_and_too_few_dates_are_an_answer_with_a_reason() -> None:
    few = split_by_time(_months(12, outcomes=0), horizon_days=30, settings=SETTINGS)
    assert isinstance(few, NoSplit)
    assert "fewer than 10 rows with, or without" in few.reason
    short = split_by_time(_months(1), horizon_days=30, settings=SETTINGS)
    assert isinstance(short, NoSplit)
    assert "leaves no earlier dates" in short.reason
    assert isinstance(split_by_time([], horizon_days=30, settings=SETTINGS), NoSplit)


def test_the_test_part_grows_until_it_holds_enough_outcomes() -> None:
    split = split_by_time(_months(20, outcomes=2), horizon_days=28, settings=SETTINGS)
    assert isinstance(split, TimeSplit)
    assert len(split.test) == 5


def test_the_inner_split_keeps_the_gap_too_and_refuses_two_dates() -> None:
    dates = np.repeat(np.array(month_starts(8), dtype="datetime64[D]"), 10)
    outcomes = np.tile([1.0] + [0.0] * 9, 8)
    inner = inner_split(dates, outcomes, horizon_days=90)
    assert inner is not None
    early, late = inner
    assert dates[early].max() + np.timedelta64(90, "D") <= dates[late].min()
    assert inner_split(dates[:20], outcomes[:20], horizon_days=30) is None


def test_dates_are_counted_and_found_again() -> None:
    dates = np.array(["2025-02-01", "2025-01-01", "2025-01-01"], dtype="datetime64[D]")
    counts = count_by_date(dates, np.array([1.0, 0.0, 1.0]))
    assert counts == [DateCounts(date(2025, 1, 1), 2, 1), DateCounts(date(2025, 2, 1), 1, 1)]
    assert rows_on(dates, (date(2025, 1, 1),)).tolist() == [False, True, True]


def _dates(entities: int, months: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dates, outcomes of a fifth and buckets of entities that stay for all months."""
    dates = np.repeat(np.array(month_starts(months), dtype="datetime64[D]"), entities)
    ids = np.tile(np.arange(entities), months)
    return dates, (ids % 5 == 0).astype(float), buckets_of(np.ones(len(ids), dtype=int), ids)


@given(st.integers(200, 900), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_by_entity_nobody_stands_in_two_parts_and_everybody_in_one(entities: int, months: int) -> None:
    dates, outcomes, buckets = _dates(entities, months)
    split = split_by_entity(dates, outcomes, buckets, SETTINGS, entity="customer")
    if isinstance(split, NoSplit):
        return
    parts: tuple[Part, ...] = ("fit", "calibrate", "test")
    masks = [split.mask(dates, buckets, part) for part in parts]
    assert (np.sum(masks, axis=0) == 1).all()
    ids = np.tile(np.arange(entities), months)
    assert not {*ids[masks[0]]} & {*ids[masks[1]]}
    assert not {*ids[masks[0] | masks[1]]} & {*ids[masks[2]]}
    assert (split.mask(dates, buckets, *parts)).all()
    assert TimeSplit.from_record(split.describe()) == split


def test_by_entity_a_part_without_outcomes_is_no_split() -> None:
    dates, outcomes, buckets = _dates(40, 2)
    split = split_by_entity(dates, outcomes, buckets, SETTINGS, entity="customer")
    assert isinstance(split, NoSplit)
    assert "the part to" in split.reason


def test_where_an_entity_stands_depends_on_its_id_alone() -> None:
    assert buckets_of(np.array([1, 1, 2]), np.array(["a", "b", "a"])).tolist() == [9, 0, 8]
    many = buckets_of(np.ones(10_000, dtype=int), np.arange(10_000))
    assert np.bincount(many).min() > 850
