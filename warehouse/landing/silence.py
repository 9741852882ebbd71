"""Whether a company's source has fallen silent: far fewer records in the last days than in the weeks before.

Counted by when things happened, so that an outage that was repaired leaves no mark in the weeks that the next day is
judged by. The same hours of the same weekdays are compared: a shop that is closed on Sundays is not silent on Monday.
Only hours that a load has covered are counted: what happened after the last load is not missing, but unread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from statistics import fmean, median, variance
from typing import Any, LiteralString

import psycopg

from foundation.counting import counted
from warehouse import relations

WINDOWS = (1, 3, 7)
WEEKS = 8
FEWEST_WEEKS = 5
LARGEST_SHARE = 0.25
"""Silent means less than this share of the usual: a busy company's slow day is no outage."""

LARGEST_CHANCE = 1e-5
"""And so few that its own weeks give them by chance less often: a small company's quiet day is no outage either."""

_DAYS = max(WINDOWS) + 7 * WEEKS

# Not of campaigns and sends: that a company sends nothing for weeks is its decision, and no outage.
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
    """An entity of which too little came: `seen` records in the last `days`, where `usual` (the median) is normal.

    `until` is where the days end, in UTC.
    """

    entity: str
    days: int
    seen: int
    usual: float
    until: datetime | None = None

    def __str__(self) -> str:
        span = "day" if self.days == 1 else counted(self.days, "day")
        end = f" up to {self.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"far fewer {self.entity} than usual: {self.seen:,} in the {span}{end}, usually {self.usual:,.10g}"


def silent_entities(
    conn: psycopg.Connection[Any], company_id: int, entities: Sequence[str], end: datetime, known_before: datetime
) -> list[Silence]:
    """The entities that have fallen silent in the days up to ``end``, by what was known before ``known_before``.

    Where an entity's last load was earlier than ``end``, its days end there; one that was never loaded is not judged.
    """
    covered = _covered_until(conn, company_id, known_before)
    silences = []
    for entity in entities:
        if entity not in covered or entity not in _COUNTS:
            continue
        until = min(covered[entity], end)
        rows = conn.execute(
            _COUNTS[entity],
            {"company": company_id, "end": until, "known": known_before, "start": until - timedelta(days=_DAYS)},
        ).fetchall()
        silence = judge(entity, dict(rows))
        if silence:
            silences.append(replace(silence, until=until))
    return silences


def _covered_until(conn: psycopg.Connection[Any], company_id: int, known_before: datetime) -> dict[str, datetime]:
    """Up to which moment each entity was read by a load that had succeeded; a first load's versions count at once."""
    return dict(
        conn.execute(
            relations.compose("""
            select entity, max(known_at) from {load_log}
            where company_id = %s and status = 'succeeded' and (is_backfill or known_at < %s) group by entity
            """),
            [company_id, known_before],
        ).fetchall()
    )


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
