"""The service roles, and each company's own logins.

Group roles carry the rights and cannot log in. The owner of the warehouse takes one
on when it connects for one kind of work; a company's logins are members of one each.
What each role may do stands in migration 0001; here is who they are.
"""

from __future__ import annotations

import secrets
from enum import StrEnum
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from warehouse.errors import CompanyLoginHeld, LoginShutOut, MigrationError
from warehouse.login_limits import ensure_unliftable, without_unliftable

Connection = psycopg.Connection[Any]


class Role(StrEnum):
    """Group roles, by what they are for."""

    loader = "churn_loader"
    ml = "churn_ml"
    publisher = "churn_publisher"
    operator = "churn_operator"
    collector = "churn_collector"
    company = "churn_company"
    company_sync = "churn_company_sync"
    api = "churn_api"


COMPANY_ROLES = (Role.company, Role.company_sync)
METABASE_LOGIN = "churn_metabase"
ROLES_WITH_TEMPORARY_TABLES = (Role.loader, Role.publisher, Role.collector)

LOGIN_SETTINGS = {
    Role.company: {
        "default_transaction_read_only": "on",
        "statement_timeout": "1min",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "1min",
    },
    Role.company_sync: {
        "default_transaction_read_only": "on",
        "statement_timeout": "15min",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "5min",
    },
}
"""What a session of a company's login starts with, and may set otherwise: `warehouse.session_watch` ends it then."""

CONNECTIONS = {Role.company: 20, Role.company_sync: 5}
"""How many sessions a company's login may have at a time, which it cannot change."""


def company_login(company_id: int, role: Role) -> str:
    """The login of a company: `company_3` for dashboards, `company_3_sync` for reverse ETL.

    Row-level security reads the company's id from this name. Raises ValueError for
    any other role.
    """
    if role not in COMPANY_ROLES:
        raise ValueError(f"{role} is no role of a company")
    return f"company_{company_id}" if role is Role.company else f"company_{company_id}_sync"


def company_metabase_login(company_id: int) -> str:
    """The login by which Metabase reads a company's marts; made by `churn dashboards apply`."""
    return f"company_{company_id}_metabase"


def company_key_login(company_id: int, key_prefix: str) -> str:
    """The login that a key of the HTTP API is; `key_prefix` is the key's: churn_ and twelve hexadecimal digits."""
    return f"company_{company_id}_key_{key_prefix.rpartition('_')[2]}"


def ensure_roles(connection: Connection) -> None:
    """Create the group roles that are missing, and let the connected owner take each one on.

    The owner does not inherit them: their policies are not the owner's. Raises MigrationError
    where a role exists that somebody else created and did not hand over.
    """
    for role in Role:
        make_role(connection, role)
        _let_owner_take_on(connection, role)


def ensure_database_privileges(connection: Connection) -> None:
    """Temporary tables for those roles that need them, and for nobody else.

    Rights on the database itself are not part of a template or a dump, so this is
    repeated with every migration. A database that belongs to somebody else is left
    as it is.
    """
    row = connection.execute(
        "select current_database(), pg_has_role(current_user, datdba, 'usage')"
        " from pg_database where datname = current_database()"
    ).fetchone()
    assert row is not None  # noqa: S101  (one database is the current one)
    name, is_ours = row
    if not is_ours:
        return
    database = sql.Identifier(name)
    connection.execute(sql.SQL("revoke temporary on database {} from public").format(database))
    connection.execute(
        sql.SQL("grant connect on database {} to {}").format(
            database, sql.SQL(", ").join(sql.Identifier(role) for role in Role)
        )
    )
    connection.execute(
        sql.SQL("grant temporary on database {} to {}").format(
            database, sql.SQL(", ").join(sql.Identifier(role) for role in ROLES_WITH_TEMPORARY_TABLES)
        )
    )
    _grant_advisory_locks(connection)


def let_connect(connection: Connection, login: str) -> None:
    """Let a login enter the current database, whether or not a group of its own does already.

    A login that is a member of no group yet must be able to connect: Metabase tries a connection before it keeps it.
    Raises LoginShutOut where the database belongs to somebody else.
    """
    row = connection.execute(
        "select has_database_privilege(%s, oid, 'connect'), pg_has_role(datdba, 'usage'), datname,"
        " pg_get_userbyid(datdba) from pg_database where datname = current_database()",
        [login],
    ).fetchone()
    assert row is not None  # noqa: S101  (one database is the current one)
    may_connect, is_ours, database, owner = row
    if may_connect:
        return
    if not is_ours:
        raise LoginShutOut(
            f"The login {login} may not connect to the database {database}, which belongs to {owner}. "
            f"As {owner}: grant connect on database {database} to {login}"
        )
    connection.execute(
        sql.SQL("grant connect on database {} to {}").format(sql.Identifier(database), sql.Identifier(login))
    )


def _grant_advisory_locks(connection: Connection) -> None:
    """To the roles that load, collect, train and publish, which wait for each other by such locks."""
    takers = [role for role in Role if role not in (*COMPANY_ROLES, Role.api)]
    rows = connection.execute(
        "select oid::regprocedure::text from pg_proc where pronamespace = 'pg_catalog'::regnamespace"
        " and proname like '%%advisory%%' and has_function_privilege(oid, 'execute with grant option')"
        " and exists (select from unnest(%s::text[]) as role where not has_function_privilege(role, oid, 'execute'))",
        [takers],
    ).fetchall()
    if rows:
        functions = sql.SQL(", ").join(sql.SQL(name) for (name,) in rows)
        roles = sql.SQL(", ").join(map(sql.Identifier, takers))
        connection.execute(sql.SQL("grant execute on function {} to {}").format(functions, roles))


def ensure_company_logins(connection: Connection, company_id: int) -> None:
    """Create a company's two roles where they are missing, and set their limits.

    They cannot log in until they get a password.
    """
    for role in COMPANY_ROLES:
        login = company_login(company_id, role)
        if make_role(connection, login):
            connection.execute(
                sql.SQL("grant {} to {} with inherit true, set false").format(
                    sql.Identifier(role), sql.Identifier(login)
                )
            )
        limit_company_login(connection, company_id, role)
    for login in (company_metabase_login(company_id), METABASE_LOGIN):
        ensure_unliftable(connection, login)


def limit_company_login(connection: Connection, company_id: int, role: Role) -> None:
    """Give a company's login its settings and its number of connections, where it has others."""
    login = company_login(company_id, role)
    row = connection.execute(
        "select coalesce(rolconfig, '{}'), rolconnlimit from pg_roles where rolname = %s", (login,)
    ).fetchone()
    if row is None:
        return
    wanted = {f"{name}={value}" for name, value in LOGIN_SETTINGS[role].items()}
    if (without_unliftable(row[0]), row[1]) != (wanted, CONNECTIONS[role]):
        name = sql.Identifier(login)
        connection.execute(sql.SQL("alter role {} connection limit {}").format(name, sql.Literal(CONNECTIONS[role])))
        connection.execute(sql.SQL("alter role {} reset all").format(name))
        for setting, value in LOGIN_SETTINGS[role].items():
            connection.execute(
                sql.SQL("alter role {} set {} = {}").format(name, sql.Identifier(setting), sql.Literal(value))
            )
    ensure_unliftable(connection, login)


def company_logins(connection: Connection, company_id: int) -> list[str]:
    """Every login that a company may have, Metabase's and its keys' included."""
    rows = connection.execute(
        "select rolname from pg_roles where rolname ~ %s order by 1", [f"^company_{company_id}_key_[0-9a-f]{{12}}$"]
    ).fetchall()
    own = (company_login(company_id, role) for role in COMPANY_ROLES)
    return [*own, company_metabase_login(company_id), *(login for (login,) in rows)]


_OTHER_DATABASES: LiteralString = """
    select distinct datname
    from pg_shdepend
    inner join pg_database on pg_database.oid = pg_shdepend.dbid
    where refclassid = 'pg_authid'::regclass
        and refobjid in (select oid from pg_roles where rolname = any(%s))
        and datname <> current_database()
    order by datname
"""


def clear_other_databases(connection: Connection, company_id: int) -> list[str]:
    """Drop what a company's logins made in other databases of the server, and return these databases.

    Each is a transaction of its own, before the one that drops the logins. The logins are locked first, so that they
    make nothing more. Raises CompanyLoginHeld where the owner may not enter such a database.
    """
    logins = company_logins(connection, company_id)
    databases = [name for (name,) in connection.execute(_OTHER_DATABASES, [logins])]
    for database in databases:
        address = connection.info.get_parameters() | {"dbname": database, "password": connection.info.password}
        try:
            with psycopg.connect(**address, autocommit=True) as other:
                for login in logins:
                    if other.execute("select from pg_roles where rolname = %s", [login]).fetchone() is not None:
                        drop_owned(other, login)
        except psycopg.Error as error:
            raise CompanyLoginHeld(
                f"A login of company {company_id} owns something in the database {database}, which the warehouse's "
                f"owner cannot clear: {str(error).strip()}. As an administrator, in {database}: "
                f"drop owned by {logins[0]}, and the same of its other logins."
            ) from error
    return databases


def drop_company_logins(connection: Connection, company_id: int) -> list[str]:
    """Drop a company's roles, Metabase's included, and return those; sessions that use them are ended.

    Raises CompanyLoginHeld where something in another database still belongs to one: `clear_other_databases` first.
    """
    dropped = []
    for login in company_logins(connection, company_id):
        if connection.execute("select from pg_roles where rolname = %s", (login,)).fetchone() is None:
            continue
        drop_owned(connection, login)
        try:
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(login)))
        except psycopg.errors.DependentObjectsStillExist as error:
            raise CompanyLoginHeld(
                f"The login {login} cannot be dropped: {error.diag.message_detail or error}"
            ) from error
        dropped.append(login)
    return dropped


def drop_owned(connection: Connection, login: str) -> None:
    """Shut a login out, and drop what it owns and may in the connection's database.

    Large objects and default privileges are what every login can make, and what would keep it from going.
    """
    shut_out(connection, login)
    name = sql.Identifier(login)
    # To drop what a login owns takes its rights, which the right to take it on does not give: `churn export` has that.
    connection.execute(sql.SQL("grant {} to current_user with inherit true, set true").format(name))
    connection.execute(sql.SQL("drop owned by {}").format(name))
    # No longer than that: policies for companies would be the owner's, too.
    connection.execute(sql.SQL("grant {} to current_user with inherit false").format(name))


def shut_out(connection: Connection, login: str) -> None:
    """Lock a login, and end its sessions."""
    connection.execute(sql.SQL("alter role {} nologin").format(sql.Identifier(login)))
    connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (login,))


def set_company_password(
    connection: Connection, company_id: int, role: Role, password: str | None = None
) -> tuple[str, str]:
    """Let a company's role log in. Returns (login, password); a password is made where none is given."""
    login = company_login(company_id, role)
    return login, let_log_in(connection, login, password)


def let_log_in(connection: Connection, login: str, password: str | None = None) -> str:
    """Let a role log in, and return its password, which is made where none is given.

    Only its SCRAM verifier travels to the server, so no log holds it.
    """
    password = password or secrets.token_urlsafe(24)
    verifier = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256")
    connection.execute(
        sql.SQL("alter role {} with login password {}").format(sql.Identifier(login), sql.Literal(verifier.decode()))
    )
    return password


_OPEN_RELATIONS: LiteralString = """
    select format('%%I.%%I', pg_namespace.nspname, pg_class.relname)
    from pg_class
    inner join pg_namespace on pg_namespace.oid = pg_class.relnamespace
    where pg_class.relkind in ('r', 'p', 'v', 'm', 'f')
        and pg_namespace.nspname not in ('pg_catalog', 'information_schema')
        and pg_namespace.nspname not like 'pg\\_temp%%'
        -- Nobody but its developer looks into a place.
        and not exists (select from ops.developers where starts_with(pg_namespace.nspname, 'dev_' || name || '_'))
        and (
            has_any_column_privilege(%(company)s, pg_class.oid, 'select')
            or has_any_column_privilege(%(company_sync)s, pg_class.oid, 'select')
        )
        and not case pg_class.relkind
            when 'r' then pg_class.relrowsecurity and pg_class.relforcerowsecurity
            when 'p' then pg_class.relrowsecurity and pg_class.relforcerowsecurity
            when 'v' then coalesce(
                array_to_string(pg_class.reloptions, ',') ~ 'security_invoker=(true|on|1|yes)', false
            )
            else false
        end
    order by 1
"""


def relations_open_to_all_companies(connection: Connection) -> list[str]:
    """What a company's role can read without row-level security: must be empty.

    A table counts unless it enables and forces row-level security; a view unless it is
    `security_invoker`; a materialised view always.
    """
    rows = connection.execute(_OPEN_RELATIONS, {"company": Role.company, "company_sync": Role.company_sync})
    return [name for (name,) in rows]


def make_role(connection: Connection, name: str) -> bool:
    """Create a role that cannot log in, if there is none; true when it was created here.

    Roles belong to the whole server, so another database may be first.
    """
    exists = connection.execute("select from pg_roles where rolname = %s", (name,)).fetchone()
    if exists is not None:
        return False
    try:
        with connection.transaction():
            connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(name)))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        return False
    return True


_MAY_TAKE_ON: LiteralString = """
    select
        rolsuper
        or (pg_has_role(current_user, %(role)s, 'set') and not pg_has_role(current_user, %(role)s, 'usage'))
    from pg_roles
    where rolname = current_user
"""


def take_on_company_login(connection: Connection, company_id: int, role: Role) -> str:
    """Go on as a company's login, whose rows alone the connection sees from here on. Returns the login.

    Raises MigrationError where the connected owner did not create that login.
    """
    login = company_login(company_id, role)
    _let_owner_take_on(connection, login)
    connection.execute(sql.SQL("set role {}").format(sql.Identifier(login)))
    return login


def _let_owner_take_on(connection: Connection, role: str) -> None:
    row = connection.execute(_MAY_TAKE_ON, {"role": role}).fetchone()
    if row is not None and row[0]:
        return
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("grant {} to current_user with inherit false, set true").format(sql.Identifier(role))
            )
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationError(
            f"The role {role} exists on this server, and the warehouse's owner may not use it. "
            f"As the role's creator run: grant {role} to <owner> with admin option, inherit false, set true"
        ) from error
