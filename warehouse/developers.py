"""A developer's place in the warehouse: a login, and schemas that show production and hold what the developer builds.

The login has no right outside these schemas, so that nothing of production can be written, dropped or locked for long.
Production is shown by views of the owner's (`ops.open_windows`), kept to the companies that the developer may see and
to the newest dates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from warehouse import relations
from warehouse.connection import Warehouse
from warehouse.errors import WarehouseError
from warehouse.login_limits import UNLIFTABLE_OF_DEVELOPERS, ensure_unliftable
from warehouse.roles import drop_owned, let_log_in, make_role, shut_out

Connection = psycopg.Connection[Any]

SHOWN_SCHEMAS = ("ops", "raw", "staging", "intermediate", "features", "ml", "predictions", "analytics")
_OWN_SCHEMAS = ("", "_dbt_test__audit", *(f"_{schema}" for schema in SHOWN_SCHEMAS))
"""dbt's default schema, that of stored test failures, and those of production."""

LOGIN_SETTINGS = {"statement_timeout": "15min", "lock_timeout": "5s", "idle_in_transaction_session_timeout": "1min"}
CONNECTIONS = 10
UNUSED = timedelta(days=30)
"""A place that nobody built in for so long is told of."""


BUILT_BY_DEVELOPERS: LiteralString = """
    pg_class.relowner in (select pg_roles.oid from pg_roles inner join ops.developers on rolname = 'dev_' || name)
"""
"""A condition on pg_class. What a developer made may have triggers, rules and policies, which run with the rights of
whoever reads or writes it: the owner does neither, and drops it."""


class DeveloperUnknown(WarehouseError):
    """There is no place of this name; the message lists those that are there."""

    advice = "`churn dev start` makes one."


class DeveloperRefused(WarehouseError):
    """A place of this name cannot be made; the message says why."""


@dataclass(frozen=True)
class Developer:
    """A place as the registry has it. `companies` are slugs, None for all; `newest_dates` None for all."""

    name: str
    companies: tuple[str, ...] | None
    newest_dates: int | None
    own_relations: tuple[str, ...]
    created_at: datetime
    used_at: datetime

    @property
    def login(self) -> str:
        """The role, which is the prefix of the schemas too."""
        return login_of(self.name)


def login_of(name: str) -> str:
    """A developer's role."""
    return f"dev_{name}"


def make_place(connection: Connection, name: str, company_ids: Sequence[int] | None, newest_dates: int | None) -> str:
    """Make a place, or change which companies and dates the one of this name shows; returns its new password.

    What was built in it stays. Raises DeveloperRefused.
    """
    if re.fullmatch("[a-z][a-z0-9]{0,19}", name) is None:
        raise DeveloperRefused(
            f"A place cannot be called {name!r}: a letter, then at most 19 letters or digits, all small."
        )
    login = sql.Identifier(login_of(name))
    with connection.transaction():
        if not make_role(connection, login_of(name)) and name not in {place.name for place in list_places(connection)}:
            raise DeveloperRefused(
                f"This server has a role {login_of(name)} already, which another warehouse's place may use. Take "
                f"another --name; or, where it is left of a warehouse that is gone: drop role {login_of(name)}"
            )
        connection.execute(sql.SQL("grant {} to current_user with inherit true, set true").format(login))
        _limit(connection, name)
        for schema in _schemas(name):
            connection.execute(sql.SQL("create schema if not exists {} authorization {}").format(schema, login))
        connection.execute(
            relations.compose(
                "insert into {developers} (name, sees_all_companies, newest_dates)"
                " values (%(name)s, %(all)s, %(dates)s)"
                " on conflict (name) do update set sees_all_companies = %(all)s, newest_dates = %(dates)s"
            ),
            {"name": name, "all": company_ids is None, "dates": newest_dates},
        )
        connection.execute(relations.compose("delete from {developer_companies} where developer = %s"), [name])
        for company_id in company_ids or ():
            connection.execute(
                relations.compose("insert into {developer_companies} (company_id, developer) values (%s, %s)"),
                [company_id, name],
            )
        _make_functions(connection, name)
        _close_windows(connection, name)
        connection.execute("select ops.open_windows(%s)", [name])
        return let_log_in(connection, login_of(name))


def list_places(connection: Connection) -> list[Developer]:
    """Every place, by name."""
    rows = connection.execute(
        relations.compose("""
        select
            places.name,
            case when not sees_all_companies then array(
                select slug from {developer_companies} inner join {companies} using (company_id)
                where developer = places.name order by slug
            ) end,
            newest_dates, own_relations, places.created_at, used_at
        from {developers} as places order by places.name
        """)
    ).fetchall()
    return [
        Developer(name, None if companies is None else tuple(companies), dates, tuple(own), created, used)
        for name, companies, dates, own, created, used in rows
    ]


def unused(places: Sequence[Developer], now: datetime) -> list[Developer]:
    """Those that nobody has built in for long."""
    return [place for place in places if now - place.used_at > UNUSED]


def place_of(connection: Connection, name: str) -> Developer:
    """The place of this name. Raises DeveloperUnknown."""
    places = {place.name: place for place in list_places(connection)}
    if name not in places:
        known = f"There are: {', '.join(places)}." if places else "There is none yet."
        raise DeveloperUnknown(f"There is no place called {name}. {known}")
    return places[name]


def drop_place(connection: Connection, name: str) -> None:
    """Drop a place with all that was built in it; sessions of its login end. Raises DeveloperUnknown."""
    place = place_of(connection, name)
    with connection.transaction():
        shut_out(connection, place.login)
        for schema in _schemas(name):
            connection.execute(sql.SQL("drop schema if exists {} cascade").format(schema))
        drop_owned(connection, place.login)
        connection.execute(relations.compose("delete from {developers} where name = %s"), [name])
        connection.execute(sql.SQL("drop role {}").format(sql.Identifier(place.login)))


def give_back(connection: Connection, name: str, relation: relations.Relation) -> bool:
    """Drop what the developer built of a relation, so that production's is shown again; False if nothing was built.

    What hangs on it in the place goes too. Raises DeveloperUnknown.
    """
    place = place_of(connection, name)
    if str(relation) not in place.own_relations:
        return False
    own = relations.Relation(f"{place.login}_{relation.schema}", relation.name)
    with connection.transaction():
        kind = connection.execute("select relkind from pg_class where oid = to_regclass(%s)", [str(own)]).fetchone()
        if kind is not None:
            what = sql.SQL("view" if kind[0] == "v" else "table")
            connection.execute(sql.SQL("drop {} {} cascade").format(what, own.identifier))
        connection.execute(
            relations.compose(
                "update {developers} set own_relations = array_remove(own_relations, %s) where name = %s"
            ),
            [str(relation), name],
        )
        connection.execute("select ops.open_windows(%s)", [name])
    return True


def ensure_developers_limits(connection: Connection) -> None:
    """Give each place's login the limits that its sessions cannot lift, where it has others."""
    for place in list_places(connection):
        ensure_unliftable(connection, place.login, UNLIFTABLE_OF_DEVELOPERS)


_DEVELOPERS_SCHEMAS: LiteralString = """
    select nspname from pg_namespace
    where exists (
        select from ops.developers where nspname = 'dev_' || name or starts_with(nspname, 'dev_' || name || '_')
    )
    order by 1
"""


def developers_schemas(connection: Connection) -> list[str]:
    """The schemas of all places; of a warehouse of an earlier release, which has none, too."""
    row = connection.execute("select to_regclass(%s) is not null", [str(relations.DEVELOPERS)]).fetchone()
    if row is None or not row[0]:
        return []
    return [schema for (schema,) in connection.execute(_DEVELOPERS_SCHEMAS).fetchall()]


_BUILT_OF_COMPANIES: LiteralString = f"""
    select pg_class.oid::regclass::text, relkind = 'm' from pg_class
    where relkind in ('r', 'p', 'm') and not relispartition and {BUILT_BY_DEVELOPERS}
        and exists (select from pg_attribute where attrelid = pg_class.oid and attname = 'company_id')
    order by 1
"""  # noqa: S608 - fixed text
_SESSIONS_END_SECONDS = 10


def drop_built_of_companies(warehouse: Warehouse) -> list[str]:
    """Drop every table with rows of companies that developers built, in all places; returns their names.

    To be called when an erasure is committed: developers' sessions end first, so that none writes what it read before.
    Views and what they show are left. Raises LockHeld.
    """
    with warehouse.connect() as connection:
        connection.execute(
            "select pg_terminate_backend(pid, %s) from pg_stat_activity"
            " where usename in (select 'dev_' || name from ops.developers)",
            [_SESSIONS_END_SECONDS * 1000],
        )
        built = connection.execute(_BUILT_OF_COMPANIES).fetchall()
        for name, is_materialised in built:
            # A partition or a child goes with its parent.
            kind = sql.SQL("materialized view" if is_materialised else "table")
            connection.execute(sql.SQL("drop {} if exists {} cascade").format(kind, sql.SQL(name)))
    return [name for name, _ in built]


def dropped_text(names: Sequence[str]) -> str:
    """For who erased: what developers have to build again."""
    return f"Dropped what developers built of companies: {', '.join(names)}. `churn dev build` makes it again."


def _schemas(name: str) -> list[sql.Identifier]:
    return [sql.Identifier(login_of(name) + suffix) for suffix in _OWN_SCHEMAS]


def _limit(connection: Connection, name: str) -> None:
    login = sql.Identifier(login_of(name))
    connection.execute(sql.SQL("alter role {} connection limit {}").format(login, sql.Literal(CONNECTIONS)))
    for setting, value in LOGIN_SETTINGS.items():
        connection.execute(
            sql.SQL("alter role {} set {} = {}").format(login, sql.Identifier(setting), sql.Literal(value))
        )
    ensure_unliftable(connection, login_of(name), UNLIFTABLE_OF_DEVELOPERS)
    (database,) = connection.execute("select current_database()").fetchone() or ("",)
    # A build goes by temporary tables.
    connection.execute(sql.SQL("grant connect, temporary on database {} to {}").format(sql.Identifier(database), login))


_FUNCTIONS: dict[LiteralString, tuple[LiteralString, LiteralString]] = {
    "open_windows()": ("setof text", "select ops.open_windows({})"),
    "keep_own()": ("void", "select ops.keep_own({})"),
}
"""What dbt calls as the developer, with the owner's rights and for this one place: what it returns, and its body."""


def _make_functions(connection: Connection, name: str) -> None:
    login = sql.Identifier(login_of(name))
    for signature, (returned, body) in _FUNCTIONS.items():
        function = sql.SQL("{}.").format(login) + sql.SQL(signature)
        text = sql.SQL(body).format(sql.Literal(name)).as_string(connection)
        connection.execute(
            sql.SQL(
                "create or replace function {} returns {} language sql security definer"
                " set search_path = pg_catalog, pg_temp as {}"
            ).format(function, sql.SQL(returned), sql.Literal(text))
        )
        connection.execute(sql.SQL("revoke execute on function {} from public").format(function))
        connection.execute(sql.SQL("grant execute on function {} to {}").format(function, login))


_WINDOWS: LiteralString = """
    select nspname, relname from pg_class inner join pg_namespace on pg_namespace.oid = relnamespace
    where relkind = 'v' and pg_get_userbyid(relowner) = current_user and starts_with(nspname, %s)
"""


def _close_windows(connection: Connection, name: str) -> None:
    """So that they open again as the place says now."""
    for schema, view in connection.execute(_WINDOWS, [f"{login_of(name)}_"]).fetchall():
        connection.execute(sql.SQL("drop view if exists {} cascade").format(sql.Identifier(schema, view)))
