"""A run's clock: it stays in the day on which the run began."""

from datetime import UTC, datetime, time, timedelta

import dagster as dg
import pytest

from orchestration import resources
from orchestration.resources import WarehouseResource, end_of_day_passed

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("began", "now"),
    [
        (MIDNIGHT - timedelta(minutes=2), MIDNIGHT - timedelta(minutes=1)),
        (MIDNIGHT, MIDNIGHT),
        (MIDNIGHT, MIDNIGHT + timedelta(hours=23)),
        # A clock that was set back.
        (MIDNIGHT, MIDNIGHT - timedelta(minutes=1)),
    ],
)
def test_within_its_day_a_runs_clock_is_the_real_one(began: datetime, now: datetime):
    assert end_of_day_passed(began, now) is None


@pytest.mark.parametrize("late", [timedelta(), timedelta(minutes=1), timedelta(days=3)])
def test_past_midnight_a_runs_clock_stands_at_the_end_of_its_day(late: timedelta):
    began = MIDNIGHT - timedelta(minutes=2)
    assert end_of_day_passed(began, MIDNIGHT + late) == MIDNIGHT - timedelta.resolution


def test_the_day_is_that_of_utc():
    began = datetime.fromisoformat("2026-03-02T01:30:00+02:00")
    assert end_of_day_passed(began, MIDNIGHT + timedelta(minutes=1)) == MIDNIGHT - timedelta.resolution


@pytest.fixture
def nows(monkeypatch: pytest.MonkeyPatch) -> list[datetime | None]:
    """Where `look` writes the moment that its run takes for now; the run began a day before it looks."""
    monkeypatch.delenv("CHURN_NOW", raising=False)

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=1)

    monkeypatch.setattr(resources, "datetime", Tomorrow)
    return []


def _look(nows: list[datetime | None]) -> None:
    @dg.asset
    def look(warehouse: WarehouseResource) -> None:
        nows.append(warehouse.settings().now)

    assert dg.materialize([look], resources={"warehouse": WarehouseResource()}).success


def test_a_step_after_midnight_works_for_the_day_of_its_run(nows: list[datetime | None]):
    today = datetime.now(UTC).date()
    _look(nows)
    assert nows in (
        [datetime.combine(today, time.max, UTC)],
        [datetime.combine(today + timedelta(days=1), time.max, UTC)],  # midnight passed in this test
    )


def test_a_clock_that_is_set_stays_as_it_is(nows: list[datetime | None], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHURN_NOW", "2025-05-05T12:00:00+00:00")
    _look(nows)
    assert nows == [datetime(2025, 5, 5, 12, tzinfo=UTC)]
