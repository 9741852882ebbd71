"""Doors to the warehouse: psycopg and ADBC connections, URLs for other tools, the dbt profile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import psycopg
import yaml
from pydantic import SecretStr

from warehouse import sessions
from warehouse.dbt_targets import DBT_PROFILE, DBT_SCHEMA, DBT_TARGET, DEVELOPMENT_TARGET, NOBODY
from warehouse.embedded.server import EmbeddedServer
from warehouse.errors import LockHeld, PoolerInTheWay, UnsupportedServer, WarehouseError, WarehouseUnreachable
from warehouse.relations import COMPANIES
from warehouse.revisions import refuse_newer
from warehouse.roles import Role
from warehouse.settings import Settings

if TYPE_CHECKING:
    from adbc_driver_postgresql.dbapi import Connection as AdbcConnection
    from sqlalchemy.engine import URL

APPLICATION = "churn-warehouse"
OLDEST_VERSION = 16
CONNECT_TIMEOUT_SECONDS = "10"
"""How long a server may take to answer, unless the address says otherwise; libpq's own is for ever."""


class Warehouse:
    """One warehouse, by the address of its owner. Opens connections; holds none.

    A connection belongs to one role for its whole life: none is passed on between roles.
    """

    def __init__(self, url: str | SecretStr, *, threads: int = 2) -> None:
        """`url` is postgresql://user:password@host:port/database; `threads` is what dbt may use."""
        from sqlalchemy.engine import make_url

        text = url.get_secret_value() if isinstance(url, SecretStr) else url
        self._url = make_url(text).set(drivername="postgresql")
        self._threads = threads
        self._revive: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"Warehouse({self._url.render_as_string(hide_password=True)})"

    @classmethod
    @contextmanager
    def open(cls, settings: Settings) -> Iterator[Warehouse]:
        """The warehouse of these settings: CHURN_DATABASE_URL, or the embedded server, which runs meanwhile.

        Raises ServerError, WarehouseUnreachable, UnsupportedServer or NewerWarehouse.
        """
        if settings.database_url is not None:
            warehouse = cls(settings.database_url, threads=settings.threads)
            warehouse.check_server()
            warehouse.check_revision()
            yield warehouse
            return
        with EmbeddedServer(settings.home).lease() as server:
            warehouse = cls(server.url(), threads=settings.threads)
            warehouse._revive = server.start
            warehouse.check_revision()
            yield warehouse

    def revive(self) -> None:
        """Start an embedded server that died although it is in use. Raises ServerError."""
        self._revive()

    def connect(self, role: Role | None = None, *, autocommit: bool = False) -> psycopg.Connection[Any]:
        """A connection as the owner, or as one of the service roles, with the settings of `sessions.SETTINGS`.

        As a context manager it commits at the end, rolls back on an error, and closes.
        Raises WarehouseUnreachable, as a context manager also where the server goes away meanwhile, and PoolerInTheWay;
        LockHeld ends the context where a statement waited in vain.
        """
        try:
            connection = _Connection.connect(
                _render(self._url),
                options=self._options(role),
                application_name=APPLICATION,
                connect_timeout=self._connect_timeout,
                autocommit=True,
            )
        except psycopg.OperationalError as error:
            raise self._unreachable("Cannot connect to", error) from error
        connection.lost = partial(self._unreachable, "Lost")
        connection.held_up = self.lock_held
        try:
            self._refuse_pooler(connection.execute(sessions.LOOK).fetchone(), role)
            connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
        return connection

    def adbc(self, role: Role | None = None) -> AdbcConnection:
        """An ADBC connection for Arrow in bulk, else as `connect`. Raises WarehouseUnreachable."""
        import adbc_driver_manager
        import adbc_driver_postgresql.dbapi as adbc

        ours = {"options": self._options(role), "application_name": APPLICATION}
        url = self._url.update_query_dict({**ours, "connect_timeout": self._connect_timeout})
        try:
            connection = adbc.connect(_render(url))
        except adbc_driver_manager.Error as error:
            raise self._unreachable("Cannot connect to", error) from error
        try:
            with connection.cursor() as cursor:
                cursor.execute(sessions.LOOK)
                self._refuse_pooler(cursor.fetchone(), role)
            connection.rollback()
        except BaseException:
            connection.close()
            raise
        return connection

    def url(self, driver: str = "postgresql+psycopg", schema: str | None = None) -> str:
        """The owner's address, with the password, for a tool that opens its own connections.

        `schema` becomes the search path: tables without a schema are found and made there.
        """
        url = self._url.set(drivername=driver)
        if schema is not None:
            given = str(url.query.get("options", ""))
            url = url.update_query_dict({"options": sessions.options(given, schema=schema)})
        return _render(url)

    def write_dbt_profile(
        self,
        directory: Path,
        *,
        password_variable: str | None = None,
        developers: Mapping[str, str] | None = None,
        default: str = DBT_TARGET,
    ) -> Path:
        """Write `profiles.yml` (mode 0600) for dbt into a folder, and return its path.

        With `password_variable` the owner's part holds no password, but the name of the variable that will.
        `developers` are logins with their passwords, a target each; `dev` is the first of them.
        """
        owner = self._url.username or "", str(self._url.password or ""), DBT_SCHEMA
        if password_variable:
            owner = owner[0], f"{{{{ env_var('{password_variable}') }}}}", DBT_SCHEMA
        logins = {login: (login, password, login) for login, password in (developers or {}).items()}
        first = next(iter(logins.values()), (NOBODY, "", NOBODY))
        targets = {DBT_TARGET: owner, DEVELOPMENT_TARGET: first, **logins}
        outputs = {target: self._dbt_output(*login) for target, login in targets.items()}
        profile = {DBT_PROFILE: {"target": default, "outputs": outputs}}
        path = directory / "profiles.yml"
        directory.mkdir(parents=True, exist_ok=True)
        unfinished = directory / f".profiles.{os.getpid()}.yml"
        unfinished.unlink(missing_ok=True)
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write("# Written by churn; changes are lost.\n")
            yaml.safe_dump(profile, file, sort_keys=False)
        unfinished.replace(path)
        return path

    def _dbt_output(self, user: str, password: str, schema: str) -> dict[str, object]:
        tls = ("sslmode", "sslcert", "sslkey", "sslrootcert")
        return {
            "type": "postgres",
            "host": self._url.host or "localhost",
            "port": self._url.port or 5432,
            "user": user,
            "pass": password,
            "dbname": self._url.database or "",
            "schema": schema,
            "threads": self._threads,
            **{name: self._url.query[name] for name in tls if name in self._url.query},
        }

    def check_server(self) -> None:
        """Raises UnsupportedServer where the Postgres is too old or its user may do too little."""
        with self.connect(autocommit=True) as connection:
            version = connection.info.server_version
            if version < OLDEST_VERSION * 10_000:
                raise UnsupportedServer(
                    f"The Postgres at {self.place} is version {version // 10_000}; "
                    f"Churn Warehouse needs {OLDEST_VERSION} or later."
                )
            row = connection.execute(
                "select rolsuper or rolcreaterole, has_database_privilege(current_database(), 'create')"
                " from pg_roles where rolname = current_user"
            ).fetchone()
        may_create_roles, may_create_schemas = row or (False, False)
        user = self._url.username or "the user"
        if not may_create_roles:
            raise UnsupportedServer(
                f"The user {user} at {self.place} may not create roles. As an administrator: "
                f"alter role {user} createrole"
            )
        if not may_create_schemas:
            raise UnsupportedServer(
                f"The user {user} at {self.place} may not create schemas. As an administrator: "
                f"grant create on database {self._url.database} to {user}"
            )

    def check_revision(self) -> None:
        """Raises NewerWarehouse where a later release has migrated it."""
        # Of a user who may not see it, the migration says what is missing.
        with self.connect(autocommit=True) as connection, suppress(psycopg.errors.InsufficientPrivilege):
            refuse_newer(connection, self.place)

    def is_migrated(self) -> bool:
        """Whether it holds a schema of ours, of this version or an older one. Raises WarehouseUnreachable."""
        with self.connect(autocommit=True) as connection:
            row = connection.execute("select to_regclass(%s) is not null", [str(COMPANIES)]).fetchone()
        return bool(row and row[0])

    def beside(self, database: str) -> Warehouse:
        """The same owner in another database of the same server."""
        return Warehouse(_render(self._url.set(database=database)), threads=self._threads)

    @property
    def database(self) -> str:
        """The name of its database."""
        return self._url.database or ""

    @property
    def user(self) -> str:
        """The owner's name."""
        return self._url.username or ""

    @property
    def place(self) -> str:
        """Host, port and database, without user or password, for messages."""
        return f"{self._url.host or 'localhost'}:{self._url.port or 5432}/{self._url.database}"

    @property
    def _connect_timeout(self) -> str:
        return str(self._url.query.get("connect_timeout", CONNECT_TIMEOUT_SECONDS))

    def _options(self, role: Role | None) -> str:
        given = str(self._url.query.get("options", ""))
        return sessions.options(given, role=role)

    def _refuse_pooler(self, seen: tuple[Any, ...] | None, role: Role | None) -> None:
        lacks = sessions.not_taken_on(seen or (), role)
        if lacks:
            raise PoolerInTheWay(
                f"What answers at {self.place} dropped the settings that a session began with ({lacks}), as a "
                "connection pooler such as PgBouncer does; its sessions would read and write as the wrong role."
            )

    def lock_held(self) -> LockHeld:
        """The error that says who holds what, after a statement of ours waited for a lock in vain."""
        with self.connect(autocommit=True) as connection:
            held = "; ".join(map(str, sessions.holders(connection)))
        seconds = f"{sessions.LOCK_TIMEOUT.total_seconds():.0f} s"
        return LockHeld(
            f"A statement waited for a lock for {seconds} in the warehouse at {self.place}: "
            f"{held or 'who held it has ended meanwhile'}."
        )

    def _unreachable(self, what: str, error: Exception) -> WarehouseError:
        # Without libpq's own question, which is ours to ask.
        lines = [line.strip() for line in str(error).splitlines()]
        reason = " ".join(line for line in lines if line and not line.startswith("Is the server running"))
        password = self._url.password
        if password:
            reason = reason.replace(str(password), "***")
        if "unsupported startup parameter" in reason:
            return PoolerInTheWay(f"What answers at {self.place} is a connection pooler: {reason}.")
        return WarehouseUnreachable(f"{what} the warehouse at {self.place}: {reason}")


class _Connection(psycopg.Connection[Any]):
    """Names the warehouse where the server goes away, and who held a lock; psycopg's own errors say neither."""

    lost: Callable[[Exception], WarehouseError]
    held_up: Callable[[], LockHeld]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_lost = self.broken
        super().__exit__(kind, error, trace)
        if is_lost and isinstance(error, psycopg.OperationalError):
            raise self.lost(error) from error
        if isinstance(error, psycopg.errors.LockNotAvailable):
            raise self.held_up() from error


def _render(url: URL) -> str:
    """The URL as libpq and SQLAlchemy both read it: a blank is %20, neither itself nor a plus."""
    bare = url.set(query={}).render_as_string(hide_password=False).replace(" ", "%20")
    return f"{bare}?{urlencode(dict(url.query), doseq=True, quote_via=quote)}" if url.query else bare
