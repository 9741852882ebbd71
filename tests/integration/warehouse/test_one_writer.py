"""One writer per warehouse: a second one waits with a word or ends at once, whichever door each of them came by."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dbt.cli.main import dbtRunner

from orchestration.job_runner import alone
from orchestration.resources import WarehouseResource
from tests.integration.conftest import Churn
from tests.integration.dbt_project.dbt_runs import DbtRuns, copy_project
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.one_writer import LOCK, NO_WAIT, WarehouseBusy, current_writer, one_writer

HOLD = """
import sys
from warehouse.connection import Warehouse
from warehouse.one_writer import one_writer
with one_writer(Warehouse(sys.argv[1]), "churn sync_and_score"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_writes(warehouse: Warehouse) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, warehouse.url("postgresql")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_the_second_is_told_who_writes_from_where_and_since_when(warehouse: Warehouse) -> None:
    with another_process_writes(warehouse) as holder:
        with pytest.raises(WarehouseBusy) as busy, one_writer(warehouse, "churn score", wait=NO_WAIT):
            pass
        host = socket.gethostname().split(".")[0][:20]
        assert f"`churn sync_and_score` (process {holder.pid} on {host}, since 20" in str(busy.value)
        assert warehouse.place in str(busy.value)
    with one_writer(warehouse, "churn score", wait=timedelta(seconds=20)):
        pass


def test_who_waits_says_for_whom_once_and_goes_on_when_the_first_ends(warehouse: Warehouse) -> None:
    sentences: list[str] = []
    entered = threading.Event()

    def wait() -> None:
        with one_writer(warehouse, "churn score", say=sentences.append):
            entered.set()

    with another_process_writes(warehouse):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not entered.wait(2)
        assert [line.startswith("Waiting for `churn sync_and_score` (process ") for line in sentences] == [True]
    assert entered.wait(20)
    waiting.join()


def test_a_killed_writer_leaves_the_warehouse_to_the_next(warehouse: Warehouse) -> None:
    with another_process_writes(warehouse) as holder:
        holder.kill()
        holder.wait()
        with one_writer(warehouse, "churn score", wait=timedelta(seconds=20)):
            pass


def test_another_thread_is_not_let_through_and_what_the_writer_itself_starts_is(warehouse: Warehouse) -> None:
    refused: list[WarehouseBusy] = []

    def write() -> None:
        try:
            with one_writer(warehouse, "churn score", wait=NO_WAIT):
                pass
        except WarehouseBusy as busy:
            refused.append(busy)

    with one_writer(warehouse, "churn run"):
        with one_writer(warehouse, "a step of it", wait=NO_WAIT):
            pass
        other = threading.Thread(target=write)
        other.start()
        other.join()
        command = [sys.executable, "-c", HOLD, warehouse.url("postgresql")]
        child = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert len(refused) == 1
    assert child.stdout == "held\n", child.stderr


@pytest.mark.parametrize("command", [("run",), ("score",), ("train",), ("backfill", "2026-01-01")])
def test_a_command_that_may_not_wait_ends_at_once(
    churn: Churn, warehouse: Warehouse, add_company: Callable[..., Company], command: tuple[str, ...]
) -> None:
    add_company("acme")
    with another_process_writes(warehouse), pytest.raises(WarehouseBusy, match="`churn sync_and_score`"):
        churn(*command, "--no-wait")


def test_what_only_loads_goes_on_beside_a_writer(warehouse: Warehouse) -> None:
    with another_process_writes(warehouse), alone(warehouse, "sync", NO_WAIT):
        pass


def test_a_step_of_dagsters_own_holds_the_warehouse_until_the_run_ends(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url("postgresql"))
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    holders: list[str] = []

    @dg.op(out=dg.Out(dg.Nothing))
    def build(warehouse: WarehouseResource) -> None:
        warehouse.write_alone("Dagster's test", print)

    @dg.op(ins={"built": dg.In(dg.Nothing)})
    def publish(warehouse: WarehouseResource) -> None:
        with warehouse.open() as opened, opened.connect() as connection:
            holders.append(str(current_writer(connection)))

    @dg.job(resource_defs={"warehouse": WarehouseResource()})
    def run() -> None:
        publish(build())

    assert run.execute_in_process().success
    assert [holder.startswith("`Dagster's test` (process ") for holder in holders] == [True]
    with warehouse.connect() as connection:
        assert current_writer(connection) is None


@pytest.fixture
def dbt(warehouse: Warehouse, tmp_path: Path) -> DbtRuns:
    warehouse.write_dbt_profile(tmp_path)
    runs = DbtRuns(copy_project(tmp_path / "project"), tmp_path)
    runs.parse()
    return runs


@pytest.mark.xdist_group("dbt_staging")
def test_dbt_by_hand_waits_for_a_run_holds_the_warehouse_while_it_builds_and_lets_go_at_its_end(
    warehouse: Warehouse, dbt: DbtRuns
) -> None:
    program = Path(sys.executable).with_name("dbt")
    command = [
        *(str(program), "run", "--select", "staging.crm", "--project-dir", str(dbt.project)),
        *("--profiles-dir", str(dbt.folder), "--target-path", str(dbt.folder / "by_hand")),
    ]
    with another_process_writes(warehouse) as holder:
        by_hand = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert by_hand.stderr is not None
        assert f"(process {holder.pid} on " in by_hand.stderr.readline()
        assert by_hand.poll() is None
    with warehouse.connect(autocommit=True) as connection:
        deadline = time.monotonic() + 30
        while "`dbt run`" not in str(current_writer(connection)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert by_hand.poll() is None
        output, errors = by_hand.communicate(timeout=120)
        assert by_hand.returncode == 0, output + errors
        assert current_writer(connection) is None


@pytest.mark.xdist_group("dbt_staging")
def test_dbt_holds_it_while_models_are_built_and_our_own_is_let_through(warehouse: Warehouse, dbt: DbtRuns) -> None:
    seen: list[str] = []

    def look(event: object) -> None:
        if event.info.name == "LogStartLine":  # type: ignore[attr-defined]
            with warehouse.connect() as connection:
                seen.append(str(current_writer(connection)))

    assert dbt.parsed is not None
    runner = dbtRunner(manifest=dbt.parsed.deepcopy(), callbacks=[look])
    command = ("run", "--select", "stg_crm__customer_versions", "--no-write-json")
    dbt._invoke(runner, *command)
    assert [holder.startswith(f"`dbt run` (process {os.getpid()} on ") for holder in seen] == [True]
    with one_writer(warehouse, "churn run"):
        dbt._invoke(runner, *command)
    assert seen[1].startswith("`churn run` (process ")
    with warehouse.connect() as connection:
        assert current_writer(connection) is None
        assert connection.execute("select count(*) from pg_locks where objid = %s", [LOCK]).fetchone() == (0,)
