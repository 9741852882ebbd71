"""What acting on scores would have brought, counted by hand and by another way."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.judging.warned import judge_warnings

JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
COLUMNS = ["entity_id", "as_of_date", "risk_level", "value_at_stake", "outcome"]


def test_who_left_counts_once_and_was_named_by_any_month_that_saw_it_coming() -> None:
    frame = pd.DataFrame(
        [
            ("a", JANUARY, "high", 80.0, True),
            ("a", FEBRUARY, "low", 100.0, True),
            ("b", JANUARY, "high", 50.0, False),
            ("b", MARCH, "medium", 50.0, True),
            ("c", MARCH, "high", 10.0, True),
            ("d", MARCH, "low", None, True),
            ("e", MARCH, "low", 30.0, False),
        ],
        columns=COLUMNS,
    )
    figures = judge_warnings(frame)
    assert (figures["high_risk"], figures["high_risk_outcomes"]) == (3, 2)
    assert figures["high_risk_kept"] == pytest.approx(2 / 3)
    assert (figures["entities_with_outcome"], figures["entities_named"]) == (4, 2)
    assert figures["named_share"] == 0.5
    # b stood at high risk in a month whose look-ahead was over before the end came: that was no warning of it.
    assert (figures["value_lost"], figures["value_lost_named"]) == (160.0, 110.0)
    assert figures["named_share_low"] < 0.5 < figures["named_share_high"]


def test_nothing_gives_no_share() -> None:
    figures = judge_warnings(pd.DataFrame([("a", JANUARY, "low", 1.0, False)], columns=COLUMNS))
    assert figures["high_risk_kept"] is None
    assert figures["named_share"] is None
    assert (figures["high_risk"], figures["entities_with_outcome"], figures["value_lost"]) == (0, 0, 0.0)


@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from([JANUARY, FEBRUARY, MARCH])),
        st.tuples(st.sampled_from(["low", "medium", "high"]), st.floats(-10, 100) | st.none(), st.booleans()),
        min_size=1,
    )
)
def test_parts_never_exceed_their_wholes(rows: dict[tuple[str, date], tuple[str, float | None, bool]]) -> None:
    frame = pd.DataFrame([(*key, *row) for key, row in rows.items()], columns=COLUMNS)
    frame["value_at_stake"] = frame["value_at_stake"].astype(float)
    figures = judge_warnings(frame)
    left = {entity for (entity, _), (_, _, came) in rows.items() if came}
    named = {entity for (entity, _), (level, _, came) in rows.items() if came and level == "high"}
    assert (figures["entities_with_outcome"], figures["entities_named"]) == (len(left), len(named))
    assert 0 <= figures["value_lost_named"] <= figures["value_lost"]
    assert figures["high_risk_outcomes"] <= figures["high_risk"] <= len(rows)
    for share in ("high_risk_kept", "named_share"):
        if figures[share] is not None:
            assert figures[f"{share}_low"] <= figures[share] <= figures[f"{share}_high"]
