"""Business hours by arithmetic on weeks, held against a count of single minutes and values worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.conftest import TestServer
from tests.integration.dbt_project.dbt_runs import PROJECT, warehouse_for_a_module

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MODELS = ("int_business_hours", "int_business_weeks")
MINUTE = timedelta(minutes=1)
Hours = dict[str, tuple[str, str]]
Span = tuple[datetime, datetime | None]


@pytest.fixture(scope="module")
def connection(postgres: TestServer, template_database: str) -> Iterator[psycopg.Connection[Any]]:
    """The project's models of business hours as temporary views over one company's row."""
    with warehouse_for_a_module(postgres, template_database) as warehouse, warehouse.connect() as connection:
        connection.execute(
            "create temp table stg_ops__companies (company_id int, time_zone text, business_hours jsonb)"
        )
        connection.execute("create temp table spans (opened_at timestamptz, closed_at timestamptz, ordinality int)")
        for model in MODELS:
            query = (PROJECT / "models" / "intermediate" / f"{model}.sql").read_text()
            rendered = jinja2.Template(query).render(ref=lambda name: name)
            connection.execute(f"create temp view {model} as {rendered}")
        yield connection


def business_hours(
    connection: psycopg.Connection[Any], hours: Hours | None, zone: str, spans: list[Span]
) -> list[float | None]:
    """What the project's macro says of each span, in hours."""
    macros: Any = jinja2.Template((PROJECT / "macros" / "business_hours.sql").read_text()).module
    query = f"""
        with spans_on_the_clock as (
            select
                ordinality,
                {macros.seconds_on_the_clock("opened_at", "time_zone")} as opened_seconds,
                {macros.seconds_on_the_clock("closed_at", "time_zone")} as closed_seconds,
                date_part('epoch', closed_at - opened_at) / 3600 as hours
            from spans
            cross join stg_ops__companies
        )
        select {macros.business_hours_between("opened_seconds", "closed_seconds", "hours", "weeks")}
        from spans_on_the_clock
        left join int_business_weeks as weeks on true
        order by ordinality
    """
    connection.execute("truncate stg_ops__companies")
    connection.execute(
        "insert into stg_ops__companies values (1, %s, %s)", [zone, None if hours is None else Jsonb(hours)]
    )
    connection.execute("truncate spans")
    connection.execute(
        "insert into spans select * from unnest(%s::timestamptz[], %s::timestamptz[]) with ordinality",
        [[opened for opened, _ in spans], [closed for _, closed in spans]],
    )
    # Without parameters, for the macro's SQL holds the operator %.
    return [value for (value,) in connection.execute(query)]


def counted_minutes(hours: Hours, zone: str, span: Span) -> int:
    """Minutes of the span that begin while the company is open, looked at one by one."""
    here = ZoneInfo(zone)
    open_between = [hours.get(day) for day in WEEKDAYS]
    minutes = 0
    moment, end = span
    while end and moment < end:
        local = moment.astimezone(here)
        opening = open_between[local.weekday()]
        if opening and opening[0] <= f"{local:%H:%M}" < opening[1]:
            minutes += 1
        moment += MINUTE
    return minutes


# Hours in which no clock is changed: what an hour that is skipped or shown twice counts for is a rule of its own.
OPENING = st.tuples(st.integers(4 * 60, 24 * 60), st.integers(4 * 60, 24 * 60)).map(sorted)
OPENINGS = OPENING.filter(lambda minutes: minutes[0] < minutes[1]).map(
    lambda minutes: tuple(f"{minute // 60:02}:{minute % 60:02}" for minute in minutes)
)
# Around both changes of the clock in the north and the south, or anywhere.
BEGINNINGS = st.sampled_from([datetime(2025, *day, tzinfo=UTC) for day in ((3, 6), (3, 27), (10, 2), (10, 23))])
ANY_DAY = st.integers(0, 30 * 365).map(lambda days: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=days))
SPANS = st.builds(
    lambda day, minutes, length: ((begin := day + minutes * MINUTE), begin + length * MINUTE),
    BEGINNINGS | ANY_DAY,
    st.integers(0, 5 * 1440),
    st.integers(0, 10 * 1440),
)
ZONES = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Auckland", "UTC"]
)


@settings(max_examples=25)
@given(hours=st.dictionaries(st.sampled_from(WEEKDAYS), OPENINGS, min_size=1), zone=ZONES, span=SPANS)
def _the_macro_counts_every_minute(connection: psycopg.Connection[Any], hours: Hours, zone: str, span: Span) -> None:
    (value,) = business_hours(connection, hours, zone, [span])
    assert value == pytest.approx(counted_minutes(hours, zone, span) / 60, abs=1e-6)


def test_arithmetic_on_weeks_counts_what_single_minutes_do(connection: psycopg.Connection[Any]) -> None:
    _the_macro_counts_every_minute(connection)


OFFICE: Hours = dict.fromkeys(WEEKDAYS[:5], ("09:00", "17:00"))
NIGHT_AND_DAY: Hours = dict.fromkeys(WEEKDAYS, ("00:00", "24:00"))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "opened", "closed", "expected"),
    [
        pytest.param(OFFICE, "2025-07-02T08:00", "2025-07-02T10:30", 2.5, id="within a day"),
        pytest.param(OFFICE, "2025-07-04T14:00", "2025-07-07T08:00", 2.0, id="across a weekend"),
        pytest.param(OFFICE, "2025-03-28T15:00", "2025-03-31T08:00", 2.0, id="across the clocks going forward"),
        pytest.param(OFFICE, "2025-10-24T14:00", "2025-10-27T09:00", 2.0, id="across the clocks going back"),
        pytest.param(OFFICE, "2025-07-05T08:00", "2025-07-06T20:00", 0.0, id="within a weekend"),
        pytest.param(OFFICE, "2024-02-28T09:00", "2024-03-01T09:00", 16.0, id="across a leap day"),
        pytest.param(OFFICE, "2022-07-05T09:00", "2025-07-01T09:00", 156 * 40.0, id="three years of 52 weeks"),
        pytest.param(None, "2025-07-04T14:00", "2025-07-07T08:00", 66.0, id="without business hours, by the wall"),
        # Midnight to midnight in Berlin. A skipped hour was no hour; of one shown twice the clock tells one.
        pytest.param(NIGHT_AND_DAY, "2025-03-29T23:00", "2025-03-30T22:00", 23.0, id="open while an hour is skipped"),
        pytest.param(NIGHT_AND_DAY, "2025-10-25T22:00", "2025-10-26T23:00", 24.0, id="open while an hour is repeated"),
        pytest.param(NIGHT_AND_DAY, "2025-10-26T00:30", "2025-10-26T01:15", 0.0, id="the clock stands before it began"),
    ],
)
def test_hours_worked_out_by_hand(
    connection: psycopg.Connection[Any], hours: Hours | None, opened: str, closed: str, expected: float
) -> None:
    (value,) = business_hours(connection, hours, "Europe/Berlin", [(at(opened), at(closed))])
    assert value == pytest.approx(expected, abs=1e-9)


def test_no_end_is_no_hours(connection: psycopg.Connection[Any]) -> None:
    assert business_hours(connection, OFFICE, "UTC", [(at("2025-07-04T14:00"), None)]) == [None]
