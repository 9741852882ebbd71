"""What was known of outcomes at a past date: nothing of later, and nothing that had not matured."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from pipeline.prediction.track_record.knowledge import Past, first_known

HORIZON = 30
MONTHS = [date(2025, month, 1) for month in range(1, 9)]
STARTED = datetime(2025, 5, 10, 6, tzinfo=UTC)


def _at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 6, tzinfo=UTC)


def _past(versions: list[tuple[str, date, bool | None, datetime]]) -> Past:
    """A company's labels as (customer, date, outcome, known at), whose rows stand in the matrix in their order."""
    frame = pd.DataFrame(versions, columns=["entity_id", "as_of_date", "outcome", "known_at"]).assign(company_id=1)
    frame["known_at"] = pd.to_datetime(frame["known_at"], utc=True)
    rows = frame[["company_id", "entity_id", "as_of_date"]].drop_duplicates().sort_values(["as_of_date", "entity_id"])
    rows = rows.reset_index(drop=True).assign(tenure_days=range(len(rows)))
    return Past(rows, frame, HORIZON, first_known(frame))


def _known(past: Past, month: date) -> dict[tuple[str, date], bool]:
    frame = past.as_known(month)
    return dict(zip(zip(frame["entity_id"], frame["as_of_date"], strict=True), frame["outcome"], strict=True))


def test_a_label_counts_from_when_its_horizon_was_over_and_as_it_was_known_by_then() -> None:
    first, after = STARTED, datetime(2025, 6, 20, tzinfo=UTC)
    past = _past(
        [
            ("a", date(2025, 1, 1), False, first),
            ("a", date(2025, 1, 1), True, after),
            ("b", date(2025, 1, 1), True, first),
            ("b", date(2025, 1, 1), None, after),
            ("c", date(2025, 5, 1), True, _at(date(2025, 6, 1))),
            ("late", date(2025, 1, 1), True, after),
        ]
    )
    january = date(2025, 1, 1)
    assert _known(past, january) == {}
    # Labels of a first load: what was known first stands for what events had told by then.
    assert _known(past, date(2025, 2, 1)) == {("a", january): False, ("b", january): True}
    assert _known(past, date(2025, 6, 1)) == {
        ("a", january): False,
        ("b", january): True,
        ("c", date(2025, 5, 1)): True,
    }
    # The correction, the withdrawal and the record that came late are known from then on only.
    assert _known(past, date(2025, 7, 1)) == {
        ("a", january): True,
        ("late", january): True,
        ("c", date(2025, 5, 1)): True,
    }


def test_labels_of_other_settings_are_not_mixed_in() -> None:
    changed = datetime(2025, 7, 20, tzinfo=UTC)
    versions = [("a", date(2025, 1, 1), False, STARTED), ("a", date(2025, 1, 1), True, changed)]
    past = _past(versions)
    since_the_change = Past(past.rows, past.versions, HORIZON, {1: changed})
    assert _known(past, date(2025, 7, 1)) == {("a", date(2025, 1, 1)): False}
    assert _known(since_the_change, date(2025, 7, 1)) == {("a", date(2025, 1, 1)): True}


LABELS = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.sampled_from(MONTHS[:5])),
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from([True, False, None])), min_size=1, max_size=4),
    min_size=1,
)


@given(labels=LABELS)
def test_a_month_knows_what_a_warehouse_that_stopped_on_that_day_knows(
    labels: dict[tuple[str, date], list[tuple[int, bool | None]]],
) -> None:
    versions = [
        (customer, day, outcome, STARTED + timedelta(days=known))
        for (customer, day), said in labels.items()
        for known, outcome in sorted(said, key=lambda version: version[0])
    ]
    past = _past(versions)
    began = min(version[3] for version in versions)
    for month in [*MONTHS, date(2025, 12, 1)]:
        end_of_day = datetime(month.year, month.month, month.day, tzinfo=UTC) + timedelta(days=1)
        expected: dict[tuple[str, date], bool | None] = {}
        for customer, day, outcome, known_at in versions:
            if day + timedelta(days=HORIZON) <= month and (known_at < end_of_day or known_at == began):
                expected[customer, day] = outcome
        assert _known(past, month) == {key: outcome for key, outcome in expected.items() if outcome is not None}
        assert past.as_known(month)["tenure_days"].is_monotonic_increasing
