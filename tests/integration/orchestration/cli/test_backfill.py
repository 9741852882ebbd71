"""`churn backfill` looks at its dates before it starts anything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.conftest import Churn
from warehouse.companies.definition import Company


@pytest.mark.parametrize("day", ["2026-13-01", "2026-02-30", "01.02.2026", "yesterday", "2026-01-01T00:00:00"])
def test_what_is_no_date_is_refused_at_once(day: str, churn: Churn) -> None:
    asked = churn("backfill", "2026-01-01", day)
    assert asked.exit_code == 2
    assert day in asked.stderr


def test_a_day_ahead_is_refused_by_name(churn: Churn, add_company: Callable[..., Company]) -> None:
    add_company("acme")
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    asked = churn("backfill", "2026-01-01", str(tomorrow))
    assert asked.exit_code == 1
    assert f"{tomorrow} lies ahead" in str(asked.exception)


def test_the_newest_clock_of_a_company_says_what_lies_ahead(churn: Churn, add_company: Callable[..., Company]) -> None:
    add_company("acme", clock_at=datetime(2031, 5, 5, tzinfo=UTC))
    asked = churn("backfill", "2031-05-06", "2031-05-07")
    assert "2031-05-06, 2031-05-07 lie ahead: it is 2031-05-05 now." in str(asked.exception)
