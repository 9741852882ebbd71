"""What every session of ours rests on, whoever opens it: psycopg, ADBC, dbt, SQLAlchemy. And who stands in its way.

A server, a database or a role may set any of these otherwise; they are given at the start of each session, and looked
at afterwards, for a connection pooler drops what it does not know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, LiteralString

if TYPE_CHECKING:
    import psycopg

LOCK_TIMEOUT = timedelta(seconds=60)
"""How long a statement waits for a lock before it says who holds it."""

SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO,MDY",
    "IntervalStyle": "postgres",
    "client_encoding": "UTF8",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "bytea_output": "hex",
    "default_transaction_read_only": "off",
    "search_path": "public",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "lock_timeout": f"{LOCK_TIMEOUT.total_seconds():.0f}s",
}

_AS_SHOWN = {"DateStyle": "ISO, MDY", "lock_timeout": f"{LOCK_TIMEOUT.total_seconds() / 60:.0f}min"}
_LOOKED_AT = ("TimeZone", "DateStyle", "search_path", "lock_timeout")

LOOK: LiteralString = (
    "select current_user::text, current_setting('TimeZone'), current_setting('DateStyle'),"
    " current_setting('search_path'), current_setting('lock_timeout')"
)
"""One row for `not_taken_on`."""

_HOLDERS: LiteralString = """
    select session.pid, session.usename::text, coalesce(session.application_name, ''),
        coalesce(session.xact_start, session.state_change, session.backend_start),
        string_agg(distinct coalesce(held.relation::regclass::text, 'an advisory lock'), ', ')
    from pg_locks as held
    inner join pg_stat_activity as session using (pid)
    left join pg_class as relation on relation.oid = held.relation
    where held.granted and held.locktype in ('relation', 'advisory') and held.pid <> pg_backend_pid()
        and held.database = (select oid from pg_database where datname = current_database())
        and (held.relation is null or relation.relkind in ('r', 'p', 'v'))
        and relation.relnamespace is distinct from 'pg_catalog'::regnamespace
        and session.application_name not like 'writer %%'
        and coalesce(session.xact_start < clock_timestamp() - 0.9 * %s::interval, true)
    group by 1, 2, 3, 4 order by 4 nulls first limit 3
"""


def options(given: str = "", *, role: str | None = None, schema: str | None = None) -> str:
    """A session's settings as libpq takes them in `options`, after those that an address gives already.

    A limit of time that is given stays; what results rest on is ours. A blank in a value is not among them.
    """
    settings = SETTINGS | ({"role": role} if role else {}) | ({"search_path": schema} if schema else {})
    kept = {name for name in SETTINGS if name not in _LOOKED_AT and re.search(rf"-c\s*{name}\s*=", given)}
    ours = " ".join(f"-c {name}={value}" for name, value in settings.items() if name not in kept)
    return f"{given} {ours}".strip()


def not_taken_on(seen: tuple[Any, ...], role: str | None) -> str | None:
    """What a session lacks of what it was opened with, in words; None where it has all. `seen` is the row of LOOK."""
    wanted = {"role": role or seen[0]} | {name: _AS_SHOWN.get(name, SETTINGS[name]) for name in _LOOKED_AT}
    lacks = [
        f"{name} is {is_!r} and not {ask!r}"
        for (name, ask), is_ in zip(wanted.items(), seen, strict=True)
        if is_ != ask
    ]
    return ", ".join(lacks) or None


@dataclass(frozen=True)
class Holder:
    """A session that holds locks: `since` is None where Postgres does not tell us."""

    pid: int
    role: str
    application: str
    since: datetime | None
    relations: str

    def __str__(self) -> str:
        since = f", since {self.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        named = f", application {self.application}" if self.application else ""
        return f"process {self.pid} (role {self.role}{named}{since}) holds {self.relations}"


def holders(connection: psycopg.Connection[Any]) -> list[Holder]:
    """Who has held tables of ours for as long as a statement waits, the longest first; three at most."""
    return [Holder(*row) for row in connection.execute(_HOLDERS, [LOCK_TIMEOUT]).fetchall()]
