"""The logins by which Metabase reads the warehouse: one of all companies, one per company, with nothing to write.

Metabase has logins of its own, so that neither its passwords nor a company's (`churn company password`) get in each
other's way. The name of a company's begins with `company_<id>_`: row-level security shows it that company's rows.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from pipeline.integrations.metabase.desired import WarehouseConnection
from pipeline.integrations.metabase.scopes import Scope
from warehouse.connection import Warehouse
from warehouse.login_limits import ensure_unliftable
from warehouse.logs.operations import record_audit
from warehouse.roles import METABASE_LOGIN, Role, company_metabase_login, let_connect
from warehouse.settings import Settings

PASSWORD_FILE = "metabase_warehouse_password"  # noqa: S105 - the file's name
PASSWORD_FOLDER = "metabase_logins"  # noqa: S105 - the folder's name
CONNECTIONS = 20
"""Sessions of a login at a time, which it cannot change: Metabase's pool takes 15 for a connection."""
LOGIN_SETTINGS = {"default_transaction_read_only": "on", "statement_timeout": "60s"}


def login_of(scope: Scope) -> str:
    """The login of a reader's connection."""
    return METABASE_LOGIN if scope.company is None else company_metabase_login(scope.company.company_id)


class WarehouseLogins:
    """Metabase's logins on one warehouse.

    A password is made once and kept in the home folder, in a file that only its owner can read. A login is a member
    of one group, the operators' or the companies'; while it is closed it is a member of none: it may connect, for
    Metabase tries each connection that it is given, and read nothing. The audit log tells when one was made, opened
    and closed, and that ``actor`` did it.
    """

    def __init__(self, warehouse: Warehouse, settings: Settings, actor: str = "dashboards") -> None:
        self._warehouse = warehouse
        self._home = settings.home
        self._actor = actor

    def connection(self, scope: Scope) -> WarehouseConnection:
        """Where the warehouse is and with which login; makes nothing."""
        with self._warehouse.connect(autocommit=True) as connection:
            info = connection.info
            host = info.host if info.host and not info.host.startswith("/") else "127.0.0.1"
            return WarehouseConnection(host, info.port, info.dbname, login_of(scope))

    def is_open(self, scope: Scope) -> bool:
        """Whether the login exists and is a member of its group."""
        with self._warehouse.connect(autocommit=True) as connection:
            return _is_member(connection, scope)

    def close(self, scope: Scope) -> SecretStr:
        """Make the login, or take its rights away; returns its password."""
        password = self._password(scope)
        with self._warehouse.connect() as connection:
            was_open = _is_member(connection, scope)
            self._refresh(connection, scope, password)
            connection.execute(
                sql.SQL("revoke {} from {}").format(sql.Identifier(group_of(scope)), sql.Identifier(login_of(scope)))
            )
            if was_open:
                self._record(connection, scope, "login.closed", before={"group": group_of(scope)})
        return SecretStr(password)

    def open(self, scope: Scope) -> SecretStr:
        """Make the login with its rights; returns its password."""
        password = self._password(scope)
        with self._warehouse.connect() as connection:
            was_open = _is_member(connection, scope)
            self._refresh(connection, scope, password)
            connection.execute(
                sql.SQL("grant {} to {} with inherit true, set false").format(
                    sql.Identifier(group_of(scope)), sql.Identifier(login_of(scope))
                )
            )
            if not was_open:
                self._record(connection, scope, "login.opened", after={"group": group_of(scope)})
        return SecretStr(password)

    def _refresh(self, connection: psycopg.Connection[Any], scope: Scope, password: str) -> None:
        if refresh_login(connection, login_of(scope), password):
            self._record(connection, scope, "login.made")

    def _record(
        self,
        connection: psycopg.Connection[Any],
        scope: Scope,
        action: str,
        before: dict[str, str] | None = None,
        after: dict[str, str] | None = None,
    ) -> None:
        record_audit(
            connection,
            actor=self._actor,
            action=action,
            company_id=None if scope.company is None else scope.company.company_id,
            before=None if before is None else {"login": login_of(scope), **before},
            after={"login": login_of(scope), **(after or {})},
        )

    def _password(self, scope: Scope) -> str:
        if scope.company is None:
            return kept_password(self._home / PASSWORD_FILE)
        return kept_password(self._home / PASSWORD_FOLDER / login_of(scope))


def group_of(scope: Scope) -> Role:
    """The group that gives a login its rights."""
    return Role.operator if scope.company is None else Role.company


def _is_member(connection: psycopg.Connection[Any], scope: Scope) -> bool:
    query = (
        "select exists (select from pg_auth_members where member = to_regrole(%s) and roleid = to_regrole(%s)"
        " and inherit_option)"
    )
    row = connection.execute(query, (login_of(scope), group_of(scope))).fetchone()
    return bool(row and row[0])


def refresh_login(connection: psycopg.Connection[Any], login: str, password: str) -> bool:
    """Make the login what it should be, but for its group; True where it was not there.

    The password travels hashed: no server log shows it.
    """
    name = sql.Identifier(login)
    hashed = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256")
    is_new = connection.execute("select 1 from pg_roles where rolname = %s", (login,)).fetchone() is None
    if is_new:
        connection.execute(sql.SQL("create role {} with login").format(name))
    connection.execute(
        sql.SQL("alter role {} with login inherit connection limit {} password {}").format(
            name, sql.Literal(CONNECTIONS), sql.Literal(hashed.decode())
        )
    )
    for setting, value in LOGIN_SETTINGS.items():
        connection.execute(
            sql.SQL("alter role {} set {} = {}").format(name, sql.Identifier(setting), sql.Literal(value))
        )
    ensure_unliftable(connection, login)
    let_connect(connection, login)
    return is_new


def kept_password(path: Path) -> str:
    """The password in `path`, made on the first call; two first calls at once agree on one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(32), encoding="utf-8")
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
        fresh.unlink()
    return path.read_text(encoding="utf-8")
