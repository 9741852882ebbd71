"""Runs whose process is gone are told from those that go on, wherever they were started."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient

from orchestration import dagster_home
from orchestration.run_launcher import WatchedRunLauncher, has_session, session_of_run
from warehouse.connection import Warehouse
from warehouse.settings import Settings

_HOLDER = """
import sys, time
from orchestration.run_launcher import session_of_run
from warehouse.connection import Warehouse
with session_of_run(Warehouse(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


def status_of(run_id: str, place: dict[str, Any] | None = None) -> WorkerStatus:
    tags = {} if place is None else {GRPC_INFO_TAG: json.dumps(place)}
    run = dg.DagsterRun(job_name="job", run_id=run_id, tags=tags)
    return WatchedRunLauncher().check_run_worker_health(run).status


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def code_server(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A code server of Dagster's, and how a run notes that it was launched there."""
    (tmp_path / "definitions.py").write_text("import dagster as dg\ndefs = dg.Definitions()\n")
    port = free_port()
    command = [sys.executable, "-m", "dagster", "api", "grpc", "--port", str(port), "--host", "127.0.0.1"]
    server = subprocess.Popen([*command, "--python-file", str(tmp_path / "definitions.py")], cwd=tmp_path)
    try:
        for _ in range(120):
            if DagsterGrpcClient(port=port, host="127.0.0.1").health_check_query() == "SERVING":
                break
            time.sleep(0.5)
        yield {"host": "127.0.0.1", "port": port}
    finally:
        server.kill()
        server.wait()


def test_a_code_server_is_asked_and_one_that_starts_again_is_not_taken_for_dead(code_server: dict[str, Any]) -> None:
    run_id = str(uuid.uuid4())
    assert status_of(run_id, code_server) is WorkerStatus.NOT_FOUND, "it answers, and knows no such run"
    assert status_of(run_id, {"host": "127.0.0.1", "port": free_port()}) is WorkerStatus.RUNNING


def test_a_server_of_a_command_that_ended_has_no_runs(tmp_path: Path) -> None:
    assert status_of(str(uuid.uuid4()), {"host": "localhost", "socket": str(tmp_path / "gone")}) is (
        WorkerStatus.NOT_FOUND
    )


def test_a_run_of_the_command_lives_as_long_as_its_process(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url("postgresql"))
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    run_id = str(uuid.uuid4())
    command = [sys.executable, "-c", _HOLDER, warehouse.url("postgresql"), run_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert status_of(run_id) is WorkerStatus.RUNNING
        process.send_signal(signal.SIGKILL)
    for _ in range(50):
        if not has_session(warehouse, run_id):
            break
        time.sleep(0.1)
    assert status_of(run_id) is WorkerStatus.NOT_FOUND


def test_no_session_is_held_once_the_run_is_over(warehouse: Warehouse) -> None:
    with session_of_run(warehouse, "one"):
        assert has_session(warehouse, "one")
        assert not has_session(warehouse, "another")
    for _ in range(50):
        if not has_session(warehouse, "one"):
            break
        time.sleep(0.1)
    assert not has_session(warehouse, "one")


def test_dagster_watches_runs_by_it_and_frees_what_killed_runs_hold(tmp_path: Path) -> None:
    with dagster_home.instance(Settings(home=tmp_path)) as instance:
        assert isinstance(instance.run_launcher, WatchedRunLauncher)
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds > 0
        assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] > 0
