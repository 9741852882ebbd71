"""Whether a company's source has fallen silent: far fewer records in the last days than in the weeks before.

Counted by when things happened, so that an outage that was repaired leaves no mark in the weeks that the next day is
judged by. The same hours of the same weekdays are compared: a shop that is closed on Sundays is not silent on Monday.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean, median, variance
from typing import Any, LiteralString

import psycopg

WINDOWS = (1, 3, 7)
WEEKS = 8
FEWEST_WEEKS = 5
LARGEST_SHARE = 0.25
"""Silent means less than this share of the usual: a busy company's slow day is no outage."""

LARGEST_CHANCE = 1e-5
"""And so few that its own weeks give them by chance less often: a small company's quiet day is no outage either."""

_DAYS = max(WINDOWS) + 7 * WEEKS

_COUNTS: Mapping[str, LiteralString] = {
    "customers": """
        select floor(extract(epoch from %(end)s - created_at) / 86400)::int, count(distinct customer_id)
        from raw.customers where company_id = %(company)s and known_at < %(known)s
            and created_at < %(end)s and created_at >= %(start)s group by 1
    """,
    "tickets": """
        select floor(extract(epoch from %(end)s - opened_at) / 86400)::int, count(distinct ticket_id)
        from raw.tickets where company_id = %(company)s and known_at < %(known)s
            and opened_at < %(end)s and opened_at >= %(start)s group by 1
    """,
    "payments": """
        select floor(extract(epoch from %(end)s - coalesce(paid_at, failed_at)) / 86400)::int,
            count(distinct payment_id)
        from raw.payments where company_id = %(company)s and known_at < %(known)s
            and coalesce(paid_at, failed_at) < %(end)s and coalesce(paid_at, failed_at) >= %(start)s group by 1
    """,
    "events": """
        select floor(extract(epoch from %(end)s - occurred_at) / 86400)::int, count(distinct event_id)
        from raw.events where company_id = %(company)s and known_at < %(known)s
            and occurred_at < %(end)s and occurred_at >= %(start)s group by 1
    """,
}


@dataclass(frozen=True)
class Silence:
    """An entity of which too little came: `seen` records in the last `days`, where `usual` (the median) is normal."""

    entity: str
    days: int
    seen: int
    usual: float

    def __str__(self) -> str:
        return f"{self.entity}: {self.seen} in the last {self.days} day(s), usually {self.usual:g}"


def silent_entities(
    conn: psycopg.Connection[Any], company_id: int, entities: Sequence[str], end: datetime, known_before: datetime
) -> list[Silence]:
    """The entities that have fallen silent in the days up to ``end``, by what was known before that moment."""
    silences = []
    for entity in entities:
        rows = conn.execute(
            _COUNTS[entity],
            {"company": company_id, "end": end, "known": known_before, "start": end - timedelta(days=_DAYS)},
        ).fetchall()
        silence = judge(entity, dict(rows))
        if silence:
            silences.append(silence)
    return silences


def judge(entity: str, by_day: Mapping[int, int]) -> Silence | None:
    """The shortest window that is silent. ``by_day`` counts records by whole days before the end, 0 the last one."""
    oldest = max(by_day, default=0)
    for days in WINDOWS:
        starts = [7 * week for week in range(1, WEEKS + 1) if 7 * week + days - 1 <= oldest]
        if len(starts) < FEWEST_WEEKS:
            continue
        seen = _total(by_day, 0, days)
        past = [_total(by_day, start, days) for start in starts]
        usual = median(past)
        if seen < LARGEST_SHARE * usual and _chance(seen, past) < LARGEST_CHANCE:
            return Silence(entity, days, seen, usual)
    return None


def _total(by_day: Mapping[int, int], start: int, days: int) -> int:
    return sum(by_day.get(day, 0) for day in range(start, start + days))


def _chance(seen: int, past: Sequence[int]) -> float:
    """The chance of as few, from counts that vary as the past ones do, and at least as Poisson's."""
    from scipy.stats import nbinom, poisson

    mean = fmean(past)
    spread = variance(past) * (1 + 1 / len(past))
    if spread <= mean:
        return float(poisson.cdf(seen, mean))
    return float(nbinom.cdf(seen, mean**2 / (spread - mean), mean / spread))
