"""Ends of processes, by real signals: a request to stop is heard at once, and a kill leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE

import psutil
import pytest

from orchestration.company_work import INTERRUPTED
from orchestration.stopping import LONGEST_SECONDS
from tests.integration.company_folders import put_secret
from tests.integration.dbt_project.dbt_runs import PROJECT, DbtRuns
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, crm
from tests.integration.published import FIRST_DAY, Score, publish, published, stage
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.one_writer import NO_WAIT, one_writer

ROOT = Path(__file__).parents[3]
DOCKER_KILLS_AFTER = 10


@contextmanager
def script(body: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A Python of its own that has said "ready"."""
    process = subprocess.Popen(
        [sys.executable, "-c", body],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def has_ended(process: psutil.Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


DEAF = """
import hashlib, signal, sys
from orchestration.stopping import ends_in_time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with ends_in_time(signal.SIGTERM):
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)  # In C, for minutes.
"""


IN_A_DESTRUCTOR = """
import signal, sys, time, weakref
from orchestration.stopping import ends_in_time

class Stop(BaseException):
    "As Dagster's own is."

def stop(*_):
    raise Stop

signal.signal(signal.SIGTERM, stop)

class Slow:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(60)

def slowly(_):
    print("ready", flush=True)
    time.sleep(60)

class Plain:
    pass

with ends_in_time(signal.SIGTERM):
    try:
        if {is_callback}:
            kept = weakref.ref(plain := Plain(), slowly)
            del plain
        else:
            Slow()
        while True:
            time.sleep(0.05)
    except Stop:
        print("stopped in order", flush=True)
"""


@pytest.mark.parametrize("is_callback", [False, True])
def test_a_request_that_falls_into_a_destructor_is_heard(is_callback: bool) -> None:
    with script(IN_A_DESTRUCTOR.replace("{is_callback}", str(is_callback))) as process:
        time.sleep(0.3)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert time.monotonic() - begun < LONGEST_SECONDS - 1
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read() == "stopped in order\n"
        assert process.stderr.read() == ""


def test_a_step_that_does_not_come_back_from_c_ends_before_docker_kills() -> None:
    with script(DEAF) as process:
        time.sleep(0.3)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
        assert LONGEST_SECONDS - 1 < time.monotonic() - begun < DOCKER_KILLS_AFTER
        assert process.stderr is not None
        assert "Ended by force, 8 s after the request to stop" in process.stderr.read()


def test_a_disk_that_is_almost_full_is_told_of_when_the_step_does_not_come_back_either() -> None:
    full = (
        'from warehouse import disk_space\ndisk_space._stopped_for.append(disk_space.DiskAlmostFull("The disk is"))\n'
    )
    with script(full + DEAF) as process:
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        assert process.stderr is not None
        assert process.stderr.read().startswith("The disk is. Make room and run the same command again")


WITH_CHILD = """
import subprocess, sys, time
from foundation.parent import adopt_children
if "{adopts}" == "True":
    adopt_children()
subprocess.Popen([sys.executable, "-m", "foundation.parent", "http.server", "0", "--bind", "127.0.0.1"])
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("adopts", [True, False])
def test_a_killed_process_takes_with_it_what_it_adopted_and_nothing_else(adopts: bool) -> None:
    with script(WITH_CHILD.format(adopts=adopts)) as process:
        (child,) = psutil.Process(process.pid).children()
        time.sleep(1)
        process.kill()
        process.wait()
        try:
            assert has_ended(child, 8) == adopts
        finally:
            with suppress(psutil.NoSuchProcess):
                child.kill()


WITH_DBT = """
import threading
from pathlib import Path
from pipeline.features.dbt import profiles_directory, run_dbt
from warehouse.connection import Warehouse
from warehouse.settings import load_settings
settings = load_settings()
with Warehouse.open(settings) as warehouse:
    warehouse.write_dbt_profile(profiles_directory(settings))
print("ready", flush=True)
run_dbt(settings, ["build"], target_path=settings.home / "target")
"""


def test_dbt_of_a_killed_process_does_not_go_on_to_write(warehouse: Warehouse, tmp_path: Path) -> None:
    url = warehouse.url("postgresql")
    with one_writer(warehouse, "test", wait=NO_WAIT):
        # Nobody but this process is let through.
        environment = {"CHURN_DATABASE_URL": url, "CHURN_HOME": str(tmp_path), "WAREHOUSE_WRITER_SESSION": ""}
        with script(WITH_DBT, **environment) as process:
            dbt = child_of(process.pid)
            time.sleep(8)
            assert dbt.is_running(), "it waits for the one writer"
            process.kill()
            process.wait()
            assert has_ended(dbt, 10)


def test_a_sync_that_waits_for_a_source_stops_when_asked_and_says_so(
    warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path
) -> None:
    warehouse.write_dbt_profile(tmp_path / "dbt")
    DbtRuns(PROJECT, tmp_path / "dbt").parse()
    put_secret(tmp_path, "acme", "key", API_KEY)
    environment = {
        "CHURN_DATABASE_URL": warehouse.url("postgresql"),
        "CHURN_HOME": str(tmp_path),
        "CHURN_PRIVATE_SOURCES": "127.0.0.0/8",
    }
    with crm({}) as stand_in:
        stand_in.misbehave = lambda *_: time.sleep(120)
        add_company("acme", connector_settings={"base_url": stand_in.url, "api_key": "file:key"})
        command = [str(Path(sys.executable).with_name("churn")), "sync"]
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=PIPE, stderr=PIPE, text=True)
        try:
            while not stand_in.requests and process.poll() is None:
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
        assert time.monotonic() - begun < DOCKER_KILLS_AFTER
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "`churn sync` was asked to stop, and stopped during sync crm (SIGTERM)" in said
    assert "DagsterExecutionInterruptedError" not in said
    with warehouse.connect() as connection:
        assert connection.execute("select stage, error from ops.run_log").fetchall() == [("sync", INTERRUPTED)]


PUBLISH_ONLY = """
import sys
from orchestration import definitions, keys
from orchestration.cli.main import main
whole = definitions.defs()
class PublishOnly:
    def resolve_job_def(self, name):
        assets = whole.get_assets_def(keys.TASKS["churn"].publications)
        whole_job = whole.resolve_job_def(name)
        return whole_job.get_subset(asset_selection=assets.keys, asset_check_selection=assets.check_keys)
definitions.defs = PublishOnly
print("ready", flush=True)
sys.argv = ["churn", "score"]
main()
"""


def test_publishing_that_is_asked_to_stop_says_so_and_the_old_set_stands_until_it_goes_on(
    warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path
) -> None:
    warehouse.write_dbt_profile(tmp_path / "dbt")
    DbtRuns(PROJECT, tmp_path / "dbt").parse()
    company_id = add_company("acme").company_id
    publish(warehouse, company_id, FIRST_DAY, {"a": Score(0.2), "b": Score(0.7)})
    stage(warehouse, company_id, FIRST_DAY + timedelta(days=1), {"a": Score(0.6), "c": Score(0.1)})
    with warehouse.connect() as connection:
        before = published(connection, company_id)
    environment = {"CHURN_DATABASE_URL": warehouse.url("postgresql"), "CHURN_HOME": str(tmp_path)}
    with warehouse.connect() as reader, script(PUBLISH_ONLY, **environment) as process:
        # What publishing has to change, so that it waits in the middle of its transaction.
        reader.execute("lock table predictions.churn_publications_v1 in share mode")
        assert_waits_for(warehouse, "churn_publications_v1", process)
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        said = process.communicate(timeout=30)[1]
        assert time.monotonic() - begun < DOCKER_KILLS_AFTER
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "`churn score` was asked to stop, and stopped during publish churn scores (SIGTERM)" in said
    assert "Traceback" not in said
    with warehouse.connect() as connection:
        assert published(connection, company_id) == before
        log = connection.execute("select stage, error from ops.run_log").fetchall()
        assert log == [("publish churn", INTERRUPTED)]
    with script(PUBLISH_ONLY, **environment) as process:
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0, said
    with warehouse.connect() as connection:
        current = published(connection, company_id)[0]
    assert [(customer, chance) for customer, _, chance in current] == [("a", 0.6), ("c", 0.1)]


def assert_waits_for(warehouse: Warehouse, relation: str, process: subprocess.Popen[str]) -> None:
    """A session, of the process, waits for a lock on the relation."""
    query = "select exists (select from pg_locks where not granted and relation = %s::regclass)"
    with warehouse.connect(autocommit=True) as connection:
        while process.poll() is None:
            (waits,) = connection.execute(query, [f"predictions.{relation}"]).fetchone() or (False,)
            if waits:
                return
            time.sleep(0.1)
    raise AssertionError("".join(process.communicate()))


def child_of(pid: int) -> psutil.Process:
    for _ in range(100):
        children = psutil.Process(pid).children()
        if children:
            return children[0]
        time.sleep(0.1)
    raise AssertionError("it started nothing")
