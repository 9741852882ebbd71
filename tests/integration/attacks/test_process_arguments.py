"""Another user of the machine lists the processes: no password stands among their arguments."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import make_url

from warehouse.connection import Warehouse

ROOT = Path(__file__).parents[3]
LONGEST_SECONDS = 120
SECRET_KEY = "c2VjcmV0LWtleS1vZi10aGUtdGVzdHMtMzItYnl0ZXM="


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def ui(warehouse: Warehouse, tmp_path: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Dagster's UI on a Postgres of its own, and its address."""
    port = free_port()
    outside = {name: value for name, value in os.environ.items() if not name.startswith("CHURN_")}
    ours = {
        "CHURN_HOME": str(tmp_path / "home"),
        "CHURN_DATABASE_URL": warehouse.url("postgresql"),
        "CHURN_SECRET_KEY": SECRET_KEY,
    }
    program = str(Path(sys.executable).with_name("churn"))
    with (tmp_path / "ui.log").open("wb") as log:
        command = [program, "ui", "--port", str(port)]
        process = subprocess.Popen(command, cwd=ROOT, env=outside | ours, stdout=log, stderr=log)
        try:
            yield psutil.Process(process.pid), f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()


def listed(process: psutil.Process) -> dict[int, bytes]:
    """What `ps` shows of a process and all that it started, by process."""
    arguments = {}
    for each in [process, *process.children(recursive=True)]:
        with suppress(OSError):
            arguments[each.pid] = Path(f"/proc/{each.pid}/cmdline").read_bytes()
    return arguments


@pytest.mark.xdist_group("ui")
def test_no_process_of_the_ui_shows_a_password(
    ui: tuple[psutil.Process, str], warehouse: Warehouse, tmp_path: Path
) -> None:
    process, address = ui
    password = str(make_url(warehouse.url()).password)
    seen: dict[int, bytes] = {}
    deadline = time.monotonic() + LONGEST_SECONDS
    is_up = False
    while not is_up and time.monotonic() < deadline:
        assert process.is_running(), (tmp_path / "ui.log").read_text()
        seen |= listed(process)
        with suppress(httpx.HTTPError):
            answer = httpx.post(f"{address}/graphql", json={"query": "{workspaceOrError{... on Workspace{id}}}"})
            is_up = answer.is_success and any(b"--instance-ref" in line for line in seen.values())
        time.sleep(0.1)
    assert is_up, (tmp_path / "ui.log").read_text()
    seen |= listed(process)
    assert len(seen) >= 4
    for line in seen.values():
        for secret in (password, SECRET_KEY):
            assert secret.encode() not in line, line.replace(secret.encode(), b"<the secret>")
    written = (tmp_path / "home" / "dagster" / "dagster.yaml").read_text()
    assert password not in written
    with warehouse.connect() as connection:
        assert connection.execute("select count(*) > 0 from pg_tables where schemaname = 'dagster'").fetchone() == (
            True,
        )
