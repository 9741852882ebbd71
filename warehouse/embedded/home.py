"""The home folder of the embedded Postgres: its files, who holds them, whose they are, and the passwords.

    postgres/             the data folder
    postgres.log          what the server says
    postgres.port         the port it was given, kept from start to start
    postgres.secrets      passwords of the superuser and of the owner, mode 0600
    postgres.lock         held while somebody creates, starts or stops the server
    postgres.users        held (shared) by each command that is using the server
    postgres.caretaker    held by the process that stops the server when nobody uses it
    postgres.pinned       there while the server shall run on without users

What the server does belongs in `server.py`.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from foundation.private_files import make_home
from warehouse.embedded.service_account import ServiceAccount
from warehouse.errors import ServerError

LOG_BYTES = 10_000_000
_GONE_SECONDS = 2


class HomeFolder:
    """The files of one home folder. `data` is Postgres' own, which may not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.data = self.path / "postgres"
        self.log = self.path / "postgres.log"
        self._port_file = self.path / "postgres.port"
        self._secrets_file = self.path / "postgres.secrets"
        self._lock_file = self.path / "postgres.lock"
        self._users_file = self.path / "postgres.users"
        self._caretaker_file = self.path / "postgres.caretaker"
        self._pinned_file = self.path / "postgres.pinned"

    # Who holds it

    @contextmanager
    def locked(self, longest_seconds: float) -> Iterator[None]:
        """Hold the folder's lock, made where it is missing: one command at a time creates, starts or stops.

        Raises ServerError after waiting `longest_seconds` for another command, and where the folder cannot be made.
        """
        self._make()
        with _open_lock(self._lock_file) as lock:
            deadline = time.monotonic() + longest_seconds
            while not _try_exclusive(lock):
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"Another command has been starting or stopping the embedded Postgres in {self.path} "
                        f"for {longest_seconds} seconds. End it and run again."
                    )
                time.sleep(0.05)
            yield

    def hold(self) -> IO[bytes]:
        """A user's hold on the server, until `let_go`. The kernel drops a killed user's."""
        users = _open_lock(self._users_file)
        try:
            fcntl.flock(users, fcntl.LOCK_SH)
        except BaseException:
            users.close()
            raise
        return users

    def let_go(self, hold: IO[bytes]) -> None:
        """End a user's hold, of forked processes that share it as well."""
        fcntl.flock(hold, fcntl.LOCK_UN)
        hold.close()

    def is_held(self) -> bool:
        """Whether any user holds the server."""
        with _open_lock(self._users_file) as users:
            return not _try_exclusive(users)

    @contextmanager
    def as_caretaker(self) -> Iterator[None]:
        """Be the one process that stops the server when nobody uses it; waits for the one that is.

        Raises FileNotFoundError where the home has gone meanwhile: whoever removes it must find nothing new in it.
        """
        with open(self._caretaker_file, "r+b") as caretaker:
            fcntl.flock(caretaker, fcntl.LOCK_EX)
            caretaker.truncate()
            caretaker.write(str(os.getpid()).encode())
            caretaker.flush()
            yield

    def has_caretaker(self) -> bool:
        """Whether some process is."""
        with _open_lock(self._caretaker_file) as caretaker:
            return not _try_exclusive(caretaker)

    def dismiss_caretaker(self) -> None:
        """End that process, where there is one: the server was stopped by somebody else."""
        with _open_lock(self._caretaker_file) as caretaker:
            deadline = time.monotonic() + _GONE_SECONDS
            while not _try_exclusive(caretaker) and time.monotonic() < deadline:
                caretaker.seek(0)
                with suppress(ValueError, OSError):
                    os.kill(int(caretaker.read()), signal.SIGTERM)
                time.sleep(0.02)

    def pin(self) -> None:
        """Note that the server shall run on without users."""
        self._pinned_file.touch()

    def unpin(self) -> None:
        """Take that note away."""
        self._pinned_file.unlink(missing_ok=True)

    @property
    def is_pinned(self) -> bool:
        """Whether the server shall run on without users."""
        return self._pinned_file.exists()

    # What is kept in it

    def port(self) -> int | None:
        """The remembered port."""
        with suppress(FileNotFoundError, ValueError):
            return int(self._port_file.read_text())
        return None

    def remember_port(self, port: int) -> None:
        """Keep the port for the next start."""
        if self.port() != port:
            _write_private(self._port_file, str(port))

    def make_passwords(self, users: tuple[str, ...]) -> None:
        """New passwords for these users of the server."""
        _write_private(self._secrets_file, json.dumps({user: secrets.token_urlsafe(24) for user in users}))

    def password(self, user: str) -> str:
        """A user's password. Raises ServerError where the file is lost."""
        try:
            passwords: dict[str, str] = json.loads(self._secrets_file.read_text())
        except (OSError, ValueError) as error:
            raise ServerError(
                f"Cannot read the passwords of the embedded Postgres from {self._secrets_file}: {error}. "
                f"Restore that file; without it the data in {self.data} is locked."
            ) from error
        return passwords[user]

    @contextmanager
    def password_file(self, user: str, account: ServiceAccount) -> Iterator[Path]:
        """A file that holds only the user's password, for `initdb` to read as `account`; gone afterwards."""
        file = self.path / "postgres.initial-password"
        _write_private(file, self.password(user))
        try:
            account.own(file)
            yield file
        finally:
            file.unlink()

    @contextmanager
    def open_log(self) -> Iterator[IO[bytes]]:
        """The log, to write and read at its end; one that has grown too long is put aside first."""
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with open(os.open(self.log, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "a+b") as log:
            yield log

    def hand_data_over(self, account: ServiceAccount) -> None:
        """Make the account own the data folder where root does, for Postgres refuses data that are another user's."""
        if self.data.stat().st_uid == 0:
            for path in (self.data, *self.data.rglob("*")):
                os.chown(path, account.uid, account.gid, follow_symlinks=False)

    def _make(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise ServerError(f"{self.path} is no folder. Set CHURN_HOME to a folder that you may write.")
        try:
            make_home(self.path)
        except OSError as error:
            raise ServerError(
                f"Cannot create the home folder {self.path}: {error.strerror}. "
                f"Set CHURN_HOME to a folder that you may write."
            ) from error


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)


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
