"""The clock: real, fixed, or a company's own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.clock import Clock
from warehouse.settings import Settings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
YEAR_3000 = datetime(3000, 1, 1)  # noqa: DTZ001 - hypothesis adds the zone


@dataclass(frozen=True)
class SomeCompany:
    clock_at: datetime | None


def test_an_unset_clock_runs_with_the_system_in_utc() -> None:
    before = datetime.now(UTC)
    assert before <= Clock().now() <= datetime.now(UTC)
    assert Clock().now().tzinfo is UTC


def test_a_fixed_clock_stands_still_and_speaks_utc(tmp_path: Path) -> None:
    berlin = timezone(timedelta(hours=1))
    clock = Clock.from_settings(Settings(home=tmp_path, now=datetime(2026, 3, 1, 13, tzinfo=berlin)))
    assert clock.now() == clock.now() == NOON
    assert clock.now().tzinfo is UTC


def test_a_company_with_a_clock_of_its_own_is_asked_first() -> None:
    clock = Clock(NOON)
    assert clock.for_company(SomeCompany(NOON - timedelta(days=400))) == NOON - timedelta(days=400)
    assert clock.for_company(SomeCompany(None)) == NOON


@given(st.datetimes(max_value=YEAR_3000, timezones=st.just(UTC)))
def test_what_is_loaded_at_midnight_is_known_to_the_day_that_begins_and_at_no_other_moment(now: datetime) -> None:
    midnight = datetime.combine(now.date(), time(), UTC) + timedelta(days=1)
    assert midnight - Clock(midnight).known_from(SomeCompany(None)) == timedelta.resolution
    if now.time() != time():
        assert Clock().known_from(SomeCompany(now)) == now


def test_a_clock_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="2026-03-01T12:00:00 has none"):
        Clock(datetime(2026, 3, 1, 12))  # noqa: DTZ001
