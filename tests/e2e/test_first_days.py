"""The first days of companies: what their first load did not cover yet is no silence, and nothing is held.

Three companies, east, west and in between, whose customers use the product all day long and pay every month. Their
files grow with the clock. Once a source does fall silent, it is held and said so, and the command that is printed ends
it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.churn_home import ChurnHome
from tests.e2e.companies_of_files import Record, definition, payment, write_company, write_definitions

pytestmark = pytest.mark.nightly

ZONES = {"east": "Pacific/Auckland", "west": "America/Los_Angeles", "middle": "UTC"}
CUSTOMERS = 60
DAYS = 3
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def _customers(now: datetime) -> list[Record]:
    begin = now - timedelta(days=420)
    return [
        {"customer_id": f"c{number}", "created_at": day.isoformat(), "updated_at": day.isoformat()}
        for number in range(CUSTOMERS)
        for day in [begin + number * DAY]
    ]


def _payments(begin: datetime, now: datetime) -> Iterator[Record]:
    """Every customer pays each thirtieth day, every fourth until half a year ago only."""
    for number in range(CUSTOMERS):
        for month in range(16):
            moment = begin - timedelta(days=400 - 30 * month - number % 30, minutes=37 * number)
            if moment <= now and not (number % 4 == 0 and moment > begin - timedelta(days=180)):
                yield payment(f"p{number}-{month}", number, moment)


def _events(begin: datetime, now: datetime, until: datetime) -> Iterator[Record]:
    """An event every ten minutes, for the seventy days before the first load and ever since, up to ``until``."""
    moment, number = begin - timedelta(days=70), 0
    while moment <= min(now, until):
        yield {
            "event_id": f"e{number}",
            "customer_id": f"c{number % CUSTOMERS}",
            "name": "opened",
            "occurred_at": moment.isoformat(),
            "updated_at": moment.isoformat(),
        }
        moment, number = moment + timedelta(minutes=10), number + 1


class Warehouse(ChurnHome):
    """The companies, and their files as they are at a moment."""

    begin: datetime
    silent_since: datetime = datetime.max.replace(tzinfo=UTC)

    def register(self) -> None:
        entities = ("customers", "payments", "events")
        definitions = [
            definition(slug, time_zone=zone, entities=list(entities), currency="EUR") for slug, zone in ZONES.items()
        ]
        for fields in definitions:
            del fields["clock_at"]
            fields["connector_settings"]["files"] = {name: {"path": f"{name}.csv"} for name in entities}
        self.write(self.begin)
        done = self.churn("company", "apply", str(write_definitions(self.home, definitions)), "--yes")
        assert done.returncode == 0, done.stderr

    def write(self, now: datetime) -> None:
        for slug in ZONES:
            write_company(
                self.home,
                slug,
                customers=_customers(self.begin),
                payments=_payments(self.begin, now),
                events=_events(self.begin, now, self.silent_since if slug == "middle" else now),
            )

    def pull(self, now: datetime) -> None:
        self.write(now)
        done = self.churn("sync", now=now)
        assert done.returncode == 0, done.stdout + done.stderr

    def run_line(self, now: datetime) -> str:
        self.write(now)
        done = self.churn("run", now=now)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def published(self) -> dict[str, str]:
        return dict(
            self.ask(
                "select slug, max(as_of_date)::text from predictions.churn_current"
                " inner join ops.companies using (company_id) group by 1"
            )
        )

    def held(self) -> list[tuple[str, str]]:
        return self.ask(
            "select slug, as_of_date::text from ml.publication_holds inner join ops.companies using (company_id)"
            " where released_at is null and accepted_at is null order by 1"
        )


@pytest.mark.parametrize(
    ("begin", "is_hourly", "days_until_seen"),
    [
        # A date knows what was loaded before it: the day after the silence began has nothing to say of it yet.
        (datetime(2026, 3, 6, 6, tzinfo=UTC), False, 2),
        # What is loaded under a clock at midnight is known to the date that begins then.
        (datetime(2026, 3, 6, 0, tzinfo=UTC), False, 1),
        # Hours of three days over which Los Angeles changes to summer time.
        (datetime(2026, 3, 6, 6, 30, tzinfo=UTC), True, 2),
    ],
    ids=["daily", "at midnight", "hourly"],
)
def test_the_first_days_hold_nothing_and_an_outage_is_held_and_can_be_accepted(
    tmp_path: Path, begin: datetime, is_hourly: bool, days_until_seen: int
) -> None:
    warehouse = Warehouse(tmp_path / "home")
    warehouse.begin = begin
    warehouse.register()
    warehouse.run_line(begin)
    for day in range(DAYS):
        now = begin + day * DAY
        if day:
            for hour in range(24 if is_hourly else 0):
                warehouse.pull(now - DAY + (hour + 1) * HOUR)
            warehouse.run_line(now)
        assert warehouse.held() == [], f"day {day + 1}"
        assert warehouse.published() == dict.fromkeys(ZONES, now.date().isoformat()), f"day {day + 1}"

    warehouse.silent_since = begin + (DAYS - 1) * DAY
    for day in range(1, days_until_seen):
        warehouse.run_line(warehouse.silent_since + day * DAY)
        assert warehouse.held() == []
    outage = warehouse.silent_since + days_until_seen * DAY
    said = warehouse.run_line(outage)
    assert warehouse.held() == [("middle", outage.date().isoformat())]
    assert "far fewer events than usual" in said
    command = re.search(r"churn (holds accept --company middle[^`\n]*?--because) ", " ".join(said.split()))
    assert command, said
    accepted = warehouse.churn(*shlex.split(command[1]), "a holiday", now=outage)
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    scored = warehouse.churn("score", "--company", "middle", now=outage)
    assert scored.returncode == 0, scored.stdout + scored.stderr
    assert warehouse.held() == []
    assert warehouse.published()["middle"] == outage.date().isoformat()
