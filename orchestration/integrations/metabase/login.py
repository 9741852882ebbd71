"""The login by which Metabase's internal connection reads the warehouse: all companies, nothing to write.

A company's own connection uses that company's login, and row-level security shows it its own rows only.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from orchestration.integrations.metabase.desired import WarehouseConnection
from warehouse.connection import Warehouse
from warehouse.roles import Role
from warehouse.settings import Settings

LOGIN = "churn_metabase"
PASSWORD_FILE = "metabase_warehouse_password"  # noqa: S105 - the file's name
LOGIN_SETTINGS = {"default_transaction_read_only": "on", "statement_timeout": "60s"}


def metabase_connection(warehouse: Warehouse, settings: Settings) -> WarehouseConnection:
    """Create or refresh Metabase's login, and say how to reach the warehouse with it.

    The password is made once and kept in the home folder, in a file that only its owner can read. The login
    is a member of the operators' group and of nothing else: it may read all companies and write nothing.
    """
    password = kept_password(settings.home / PASSWORD_FILE)
    with warehouse.connect(autocommit=True) as connection:
        refresh_login(connection, password)
        info = connection.info
        host = info.host if info.host and not info.host.startswith("/") else "127.0.0.1"
        return WarehouseConnection(host, info.port, info.dbname, LOGIN, SecretStr(password))


def refresh_login(connection: psycopg.Connection[Any], password: str) -> None:
    """Make the login what it should be. The password travels hashed, so that no server log shows it."""
    name = sql.Identifier(LOGIN)
    hashed = connection.pgconn.encrypt_password(password.encode(), LOGIN.encode(), b"scram-sha-256")
    if connection.execute("select 1 from pg_roles where rolname = %s", (LOGIN,)).fetchone() is None:
        connection.execute(sql.SQL("create role {} with login").format(name))
    connection.execute(
        sql.SQL("alter role {} with login inherit password {}").format(name, sql.Literal(hashed.decode()))
    )
    connection.execute(
        sql.SQL("grant {} to {} with inherit true, set false").format(sql.Identifier(Role.operator), name)
    )
    for setting, value in LOGIN_SETTINGS.items():
        connection.execute(
            sql.SQL("alter role {} set {} = {}").format(name, sql.Identifier(setting), sql.Literal(value))
        )


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
