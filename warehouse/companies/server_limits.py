"""What only the server can say of a definition: whether it knows the time zone, and as Python does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from warehouse.errors import CompanyDefinitionError

_FIRST_YEAR, _LAST_YEAR = 2000, 2037
_MOMENTS = [
    datetime(year, month, 15, 12, tzinfo=UTC) for year in range(_FIRST_YEAR, _LAST_YEAR + 1) for month in (1, 4, 7, 10)
]
"""Noon in the middle of each quarter: summer time and winter time of every year, and what a country changed since."""


def refuse_time_zone_unknown_to_server(connection: psycopg.Connection[Any], slug: str, time_zone: str) -> None:
    """Raises CompanyDefinitionError where Postgres lacks the zone, or has another clock on its walls than Python.

    Times are read in Python and counted in Postgres: if the two differ, features are wrong without a word.
    """
    try:
        with connection.transaction():
            rows = connection.execute(
                "select extract(epoch from moment at time zone %s - moment at time zone 'UTC')::int"
                " from unnest(%s::timestamptz[]) with ordinality as moments (moment, place) order by place",
                [time_zone, _MOMENTS],
            ).fetchall()
    except psycopg.errors.InvalidParameterValue:
        raise CompanyDefinitionError(
            f"Company {slug}: time_zone: {time_zone} is not known to the Postgres server; take one by its place, such "
            "as Europe/London."
        ) from None
    zone = ZoneInfo(time_zone)
    for moment, (seconds,) in zip(_MOMENTS, rows, strict=True):
        offset = zone.utcoffset(moment.astimezone(zone))
        if offset is None or offset.total_seconds() != seconds:
            raise CompanyDefinitionError(
                f"Company {slug}: time_zone: {time_zone} is another time to the Postgres server than to Python on "
                f"{moment:%Y-%m-%d}; bring the time zones of both up to date, or take another zone."
            )
