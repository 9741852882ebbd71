"""Which process is the server on a data folder: a pid file may outlive its server, and its number be given away."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import psutil


class Postmaster(NamedTuple):
    """A live server process on a data folder."""

    pid: int
    port: int


def postmaster_on(data: Path) -> Postmaster | None:
    """The live server on the data folder, if there is one."""
    try:
        lines = _pid_file(data).read_text().splitlines()
        postmaster = Postmaster(int(lines[0]), int(lines[3]))
    except (FileNotFoundError, IndexError, ValueError):
        return None
    return postmaster if _is_server_on(data, postmaster.pid) else None


def drop_stale_pid_file(data: Path) -> None:
    """Remove a killed server's pid file where its number now names a process that is no server on this folder.

    Postgres itself sees through a dead number, but not through one that was given to another program, or to a zombie.
    While a child of the killed server lives the file stays: it is what keeps a second server out.
    """
    try:
        pid = int(_pid_file(data).read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    if not psutil.pid_exists(pid) or _is_server_on(data, pid):
        return
    if not any(_works_in(data, process) for process in psutil.process_iter()):
        _pid_file(data).unlink(missing_ok=True)


def _pid_file(data: Path) -> Path:
    return data / "postmaster.pid"


def _is_server_on(data: Path, pid: int) -> bool:
    """Is the process alive, a Postgres, and started on the data folder?"""
    try:
        process = psutil.Process(pid)
        return (
            process.status() != psutil.STATUS_ZOMBIE
            and process.name() == "postgres"
            and any(argument.removeprefix("--pgdata=") == str(data) for argument in process.cmdline())
        )
    except psutil.NoSuchProcess:
        return False


def _works_in(data: Path, process: psutil.Process) -> bool:
    """Is the process a Postgres at work in the data folder? One that hides its folder may be."""
    try:
        if process.name() != "postgres" or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.cwd() == str(data)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
