"""Run Postgres' programs as somebody who is not root, for Postgres refuses root.

An ordinary user runs them under their own account. Root hands over to the owner of the data folder, or to `postgres`,
or to `nobody`. Where folders on the way are closed to that user, Postgres gets the one capability to read and pass
through (CAP_DAC_READ_SEARCH); no folder's mode is ever changed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warehouse.errors import ServerError

_CAPABILITY = "-all,+dac_read_search"
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}

# A machine that allows less, or knows no such limit, keeps its own.
_LIMITED = ("sh", "-c", 'ulimit -d "$0" 2>/dev/null; exec "$@"')


@dataclass(frozen=True)
class ServiceAccount:
    """Whom Postgres runs as, and how to become that user."""

    uid: int
    gid: int
    name: str
    launcher: tuple[str, ...] = ()

    @classmethod
    def choose(cls, data: Path, binaries: Path) -> ServiceAccount:
        """The account for this data folder, which need not exist yet.

        Raises ServerError where a folder on the way is closed to it and cannot be passed.
        """
        account = _account_for(data)
        if os.geteuid() != 0:
            return account
        blocked = account._first_closed_folder((data.parent, binaries))
        return account if blocked is None else account._passing_through(blocked)

    def run(
        self, command: Sequence[str | Path], *, memory: int | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as this account, in a session of its own and with no environment of ours.

        `memory` is how many bytes of its own each process that it starts may have. Options go to subprocess.run. The
        exit status is the caller's to judge.
        """
        switch: dict[str, Any] = {}
        if os.geteuid() == 0 and not self.launcher:
            switch = {"user": self.uid, "group": self.gid, "extra_groups": []}
        limited = () if memory is None else (*_LIMITED, str(memory // 1024))
        arguments = [*limited, *self.launcher, *map(str, command)]
        return subprocess.run(  # noqa: S603  (our own programs, no shell)
            arguments,
            check=False,
            text=True,
            cwd="/",
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **switch,
            **options,
        )

    def own(self, path: Path) -> None:
        """Make this account the owner of one file or folder that we have just created."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)

    def _first_closed_folder(self, paths: Iterable[Path]) -> Path | None:
        folders = [folder for path in paths for folder in (*reversed(path.parents), path)]
        return next((folder for folder in folders if not self._may_enter(folder)), None)

    def _may_enter(self, folder: Path) -> bool:
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)

    def _passing_through(self, folder: Path) -> ServiceAccount:
        remedy = (
            f"Postgres may not run as root, and the user {self.name!r} may not enter {folder}. "
            f"Put the project and CHURN_HOME where that user may go, run as an ordinary user, "
            f"or set CHURN_DATABASE_URL to a Postgres of your own"
        )
        setpriv = shutil.which("setpriv", path=_ENVIRONMENT["PATH"] + ":/usr/sbin:/sbin")
        if setpriv is None:
            raise ServerError(f"{remedy}; installing setpriv (util-linux) lets it pass as well.")
        launcher = (
            setpriv,
            f"--reuid={self.uid}",
            f"--regid={self.gid}",
            "--clear-groups",
            # Without it access(2) forgets the capability, and Postgres asks that before it runs its own programs.
            "--securebits=+no_setuid_fixup",
            f"--inh-caps={_CAPABILITY}",
            f"--ambient-caps={_CAPABILITY}",
            f"--bounding-set={_CAPABILITY}",
        )
        account = ServiceAccount(self.uid, self.gid, self.name, launcher)
        trial = account.run(["true"], capture_output=True)
        if trial.returncode != 0:
            raise ServerError(f"{remedy}. (setpriv could not help: {trial.stderr.strip()})")
        return account


def _account_for(data: Path) -> ServiceAccount:
    me = os.geteuid()
    if data.is_dir():
        owner = data.stat().st_uid
        if me not in (0, owner):
            raise ServerError(
                f"The data folder {data} belongs to the user {_name(owner)!r}, and you are {_name(me)!r}. "
                f"Run as that user or as root, or set CHURN_HOME to another folder."
            )
        if owner != 0:
            return _account(owner)
    if me != 0:
        return _account(me)
    for name in ("postgres", "nobody"):
        try:
            return _account(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue
    raise ServerError(
        "Postgres may not run as root, and there is neither a user 'postgres' nor 'nobody'. "
        "Create one, or run as an ordinary user."
    )


def _account(uid: int) -> ServiceAccount:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return ServiceAccount(uid, os.getegid() if uid == os.geteuid() else uid, str(uid))
    return ServiceAccount(uid, entry.pw_gid, entry.pw_name)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
