"""Which months are replayed, in which order, and for how long."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from ml_assets.task import Rung
from ml_assets.training.ladder import OutcomeCounts, RungDecision
from pipeline.prediction.track_record.plan import Budget, Work, in_order, months_due, opening_months

MONTHS = [date(year, month, 1) for year in (2024, 2025, 2026) for month in range(1, 13)]
RUNGS: list[Rung] = ["own_model", "pooled_model", "rule"]
History = dict[date, tuple[Rung, int]]
HISTORIES = st.dictionaries(
    st.sampled_from(MONTHS), st.tuples(st.sampled_from(RUNGS), st.integers(60, 2000)), max_size=36
)


def _decisions(history: History) -> dict[date, RungDecision]:
    counts = {month: OutcomeCounts(0, 0, outcomes, 0) for month, (_, outcomes) in history.items()}
    none = OutcomeCounts(0, 0, 0, 0)
    return {
        month: RungDecision(rung, *((none, counts[month]) if rung == "pooled_model" else (counts[month], None)), "")
        for month, (rung, _) in history.items()
    }


def test_a_month_is_due_once_and_again_with_other_features() -> None:
    unpublished = {MONTHS[0]: "a.1", MONTHS[1]: "b.1", MONTHS[2]: "b.1"}
    assert months_due(unpublished, {}) == MONTHS[:3]
    assert months_due(unpublished, {MONTHS[0]: "a.1", MONTHS[1]: "a.1", MONTHS[5]: "a.1"}) == MONTHS[1:3]


@given(HISTORIES)
def test_a_month_starts_from_the_last_on_its_rung_at_which_outcomes_had_doubled(history: History) -> None:
    openings = opening_months(_decisions(history))
    assert openings.keys() == {month for month, (rung, _) in history.items() if rung != "rule"}
    for month, opening in openings.items():
        assert opening <= month
        assert history[opening][0] == history[month][0]
        assert openings[opening] == opening
        since = [other for other in openings if opening < other <= month and history[other][0] == history[month][0]]
        assert all(history[other][1] < 2 * history[opening][1] for other in since)
        earlier = [other for other in openings if other < opening and history[other][0] == history[month][0]]
        assert not earlier or history[opening][1] >= 2 * history[openings[max(earlier)]][1]


@given(HISTORIES, st.sets(st.sampled_from(MONTHS)))
def test_all_that_is_due_is_done_the_newest_first_and_after_what_it_starts_from(
    history: History, due: set[date]
) -> None:
    openings = opening_months(_decisions(history))
    order = in_order(due, openings)
    assert sorted(order) == sorted(due)
    for month in order:
        opening = openings.get(month, month)
        assert opening not in due or order.index(opening) <= order.index(month)
    others = [month for month in order if month not in openings.values()]
    assert others == sorted(others, reverse=True)


@given(st.floats(0, 100), st.lists(st.tuples(st.sampled_from(["full", "recipe"]), st.floats(0.1, 30)), max_size=12))
def test_a_budget_ends_work_that_would_not_end_in_time_and_always_does_a_piece(
    seconds: float, work: list[tuple[Work, float]]
) -> None:
    clock = [0.0]
    months = MONTHS[: len(work)]
    cost = dict(zip(months, work, strict=True))
    done = []
    for month in Budget(seconds, now=lambda: clock[0]).allowed(months, lambda month: cost[month][0]):
        kind = cost[month][0]
        before = [cost[other][1] for other in done if cost[other][0] == kind]
        assert not before or clock[0] + before[-1] <= seconds
        clock[0] += cost[month][1]
        done.append(month)
    assert bool(done) == bool(months)
    assert done == months[: len(done)]


def test_without_a_budget_all_is_done() -> None:
    assert list(Budget(None).allowed(MONTHS, lambda _: "full")) == MONTHS
