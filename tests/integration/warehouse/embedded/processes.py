"""Processes that use an embedded server beside this one, and what it answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import psycopg

from warehouse.embedded.server import EmbeddedServer

PROJECT = Path(__file__).parents[4]
AS_ROOT = os.geteuid() == 0


def answer(server: EmbeddedServer, query: str, *, superuser: bool = False) -> object:
    with psycopg.connect(server.url(superuser=superuser), autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def start_script(home: Path, body: str, **options: object) -> subprocess.Popen[str]:
    """Another process that knows `server`, this home folder's."""
    script = (
        "import subprocess, sys, time\nfrom pathlib import Path\nfrom warehouse.embedded.server import EmbeddedServer\n"
        f"server = EmbeddedServer(Path({str(home)!r}))\n" + textwrap.dedent(body)
    )
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def finished(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    return out.strip()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def is_gone(pid: int) -> bool:
    """Has the process ended? Its parent may be slow to collect it."""
    try:
        process = psutil.Process(pid)
        return process.status() == psutil.STATUS_ZOMBIE or process.wait(timeout=10) is None
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return process.status() == psutil.STATUS_ZOMBIE


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
