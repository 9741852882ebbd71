"""A number that no model can reckon with is missing for its row, and for no other."""

from __future__ import annotations

import pyarrow as pa
import pytest

from warehouse.prediction.bounds import within_bounds


def test_one_number_too_large_is_null_in_its_row_alone_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    rows = pa.table(
        {"entity_id": ["a", "b", "c", "d"], "budget": [1e39, 2.0, float("-inf"), None], "seats": [1, 2, 3, 4]}
    )
    bounded = within_bounds(rows)
    assert bounded["budget"].to_pylist() == [None, 2.0, None, None]
    assert bounded.drop_columns("budget").equals(rows.drop_columns("budget"))
    assert "budget is too large in 2 rows" in caplog.text


def test_what_is_in_bounds_is_left_as_it_is() -> None:
    rows = pa.table({"budget": [1e29, float("nan"), None]})
    assert within_bounds(rows) is rows
