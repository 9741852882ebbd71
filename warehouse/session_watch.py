"""Ends what companies' and developers' sessions keep open for too long: their limits of time they may lift themselves.

A transaction that stays open keeps deleted rows on the disk and the server's queue of notifications from being emptied,
by which Dagster's processes are woken.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple

import psycopg

from warehouse.login_limits import LOGINS
from warehouse.logs.operations import record_audit

LONGEST = timedelta(minutes=5)
"""How long a transaction of a company's dashboards may be open."""
LONGEST_OF_SYNC = timedelta(minutes=30)
"""How long one of its reverse ETL may be, or a developer's."""
FULL_QUEUE = 0.1
"""Share of the queue of notifications from which on no open transaction of a company is left."""

_OVERSTAYING: LiteralString = """
    with open_sessions as (
        select
            pid, usename::text as login, xact_start as since,
            case when usename ~ %(logins)s then split_part(usename, '_', 2)::int end as company_id,
            pg_notification_queue_usage() > %(full)s as is_queue_full
        from pg_stat_activity
        where datname = current_database() and xact_start is not null
            and (usename ~ %(logins)s or usename in (select 'dev_' || name from ops.developers))
    )
    select pid, login, company_id, since, is_queue_full from open_sessions
    where is_queue_full or since < clock_timestamp()
        - case when company_id is null or login ~ '_sync$' then %(patience)s else %(longest)s end
    order by since
"""


class EndedSession(NamedTuple):
    """A session that was ended; its transaction had been open since then. A developer's is of no company."""

    company_id: int | None
    login: str
    pid: int
    since: datetime
    why: str

    def __str__(self) -> str:
        return (
            f"process {self.pid} of {self.login}, whose transaction was open since {self.since:%H:%M:%S %Z}: {self.why}"
        )


def end_overstaying_sessions(
    connection: psycopg.Connection[Any], longest: timedelta = LONGEST, full: float = FULL_QUEUE
) -> list[EndedSession]:
    """End each company's or developer's session whose transaction is open for too long, and tell the audit log.

    While the queue of notifications fills up, every such transaction is too long. Needs the owner, as a member of
    pg_read_all_stats and pg_signal_backend: without the first no session is seen.
    """
    asked = {
        "logins": LOGINS,
        "full": full,
        "longest": longest,
        "patience": max(longest, LONGEST_OF_SYNC),
    }
    ended = []
    for pid, login, company_id, since, is_queue_full in connection.execute(_OVERSTAYING, asked).fetchall():
        whose = "developer's" if company_id is None else "company's"
        why = "the queue of notifications fills up" if is_queue_full else f"longer than a {whose} may be"
        connection.execute("select pg_terminate_backend(%s)", [pid])
        ended.append(EndedSession(company_id, login, pid, since, why))
        record_audit(
            connection,
            actor="session_watch",
            action="session.ended",
            company_id=company_id,
            after={"login": login, "since": since.isoformat(), "why": why},
        )
    return ended
