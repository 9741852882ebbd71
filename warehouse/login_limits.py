"""What a company's login may use up and cannot change: settings that only a superuser, or who was given them, may set.

Memory and time every session may set for itself: the first is bounded by the server's process limit, the second by
`warehouse.session_watch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql

Connection = psycopg.Connection[Any]

LOGINS = "^company_[0-9]+(_sync|_metabase|_key_[0-9a-f]{12})?$"
"""Names of companies' logins, as a regular expression."""

UNLIFTABLE = {
    # Sorts and materialised cursors would otherwise fill the disk: of one process, and a session may have eight more.
    "temp_file_limit": "512MB",
    # A failed statement is quoted in the server's log, however long it is, and so is what it raises.
    "log_min_error_statement": "panic",
    "log_min_messages": "fatal",
}
"""Settings of each login that is not ours, by name."""

UNLIFTABLE_OF_DEVELOPERS = {**UNLIFTABLE, "temp_file_limit": "4GB"}
"""Those of a developer's login, which builds whole models."""

GRANT = f"grant set on parameter {', '.join(UNLIFTABLE)} to"
"""As a superuser, so that the owner may set them for logins; the owner's name follows."""

OWNER_GROUPS = ("pg_read_all_stats", "pg_signal_backend", "pg_use_reserved_connections")
"""Groups of Postgres' own that the owner is a member of: to see sessions, to end them, and to connect in any case."""

SHARED_MEANS = (
    "advisory|^(lo_creat|lo_create|lo_from_bytea|lo_put|lowrite|lo_truncate|lo_truncate64"
    "|pg_notify|pg_logical_emit_message)$"
)
"""Functions that Postgres gives to everybody and by which a company could hold up others or fill the disk."""

_SETTABLE: LiteralString = "select name from unnest(%s::text[]) as name where has_parameter_privilege(name, 'set')"


def ensure_unliftable(connection: Connection, login: str, limits: Mapping[str, str] = UNLIFTABLE) -> None:
    """Give a login those of the limits that the connected owner may set, where it has others.

    What is missing, `left_open_by_server` tells.
    """
    row = connection.execute("select coalesce(rolconfig, '{}') from pg_roles where rolname = %s", [login]).fetchone()
    if row is None:
        return
    for (setting,) in connection.execute(_SETTABLE, [[*limits]]).fetchall():
        if f"{setting}={limits[setting]}" not in row[0]:
            connection.execute(
                sql.SQL("alter role {} set {} = {}").format(
                    sql.Identifier(login), sql.Identifier(setting), sql.Literal(limits[setting])
                )
            )


_LEFT_OPEN: LiteralString = """
    with owner as (select datdba as oid, quote_ident(datdba::regrole::text) as name from pg_database
        where datname = current_database()),
    limits as (select name, setting from unnest(%(names)s::text[], %(settings)s::text[]) as limits (name, setting)),
    unlimited as (
        select distinct rolname, limits.name from pg_roles cross join limits
        where rolname ~ %(logins)s and limits.name || '=' || limits.setting <> all (coalesce(rolconfig, '{}'))
    )
    select count(distinct rolname) || ' logins of companies are not kept to '
        || string_agg(distinct unlimited.name, ', ')
        || ' (' || min(rolname) || '): as a superuser, ' || %(grant)s || ' ' || owner.name || '; then churn migrate'
    from unlimited cross join owner group by owner.name
    union all
    select 'every login may call ' || string_agg(oid::regproc::text, ', ')
        || ': as a superuser, revoke execute from public as docker/create-databases.sh does'
    from pg_proc where pronamespace = 'pg_catalog'::regnamespace and proname ~ %(means)s
        and exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee = 0)
    having count(*) > 0
    union all
    select name || ' is no member of ' || string_agg(wanted, ', ') || ': grant ' || string_agg(wanted, ', ')
        || ' to ' || name
    from owner cross join unnest(%(groups)s::text[]) as wanted
    where not pg_has_role(owner.oid, wanted, 'usage') group by name
    union all
    select 'companies'' sessions may take every connection: set reserved_connections, and start the server again'
    where current_setting('reserved_connections')::int = 0
"""


def left_open_by_server(connection: Connection) -> list[str]:
    """One line for each limit of companies' logins that only a superuser can set and nobody has; empty is well.

    `churn migrate` tells it, and no daily check: a hosted Postgres may have nobody who could mend it.
    """
    asked = {
        "names": [*UNLIFTABLE],
        "settings": [*UNLIFTABLE.values()],
        "logins": LOGINS,
        "grant": GRANT,
        "means": SHARED_MEANS,
        "groups": [*OWNER_GROUPS],
    }
    return [line for (line,) in connection.execute(_LEFT_OPEN, asked).fetchall()]


def without_unliftable(settings: Sequence[str]) -> set[str]:
    """A role's settings, as `pg_roles.rolconfig` has them, but for the limits of this module."""
    return {setting for setting in settings if setting.partition("=")[0] not in UNLIFTABLE}
