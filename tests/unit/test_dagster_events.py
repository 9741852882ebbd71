"""Dagster's files with one engine each: Dagster's own classes read what is written, and few files stay open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from orchestration import dagster_events, dagster_home
from orchestration.dagster_events import MOST_FILES, Events
from warehouse.connection import Warehouse
from warehouse.settings import Settings


@dg.op
def work() -> None:
    pass


@dg.job
def job() -> None:
    work()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dagster_home.instance(Settings(home=tmp_path), Warehouse("postgresql://nobody@localhost/x")) as instance:
        yield instance


def test_dagsters_own_class_reads_what_was_written(instance: dg.DagsterInstance) -> None:
    done = job.execute_in_process(instance=instance)

    storage = instance.event_log_storage
    assert isinstance(storage, Events)
    own = SqliteEventLogStorage(storage._base_dir)
    assert len(own.get_logs_for_run(done.run_id)) == len(storage.get_logs_for_run(done.run_id)) > 3
    (run,) = instance.get_runs()
    assert run.run_id == done.run_id


def test_of_many_runs_that_are_shown_few_files_stay_open(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = instance.event_log_storage
    assert isinstance(storage, Events)
    made = []
    create = dagster_events.create_engine
    monkeypatch.setattr(
        dagster_events, "create_engine", lambda *given, **named: made.append(given) or create(*given, **named)
    )
    for number in range(MOST_FILES + 5):
        for _ in range(2):
            assert storage.get_logs_for_run(f"run{number}") == []
        assert len(storage._engines) <= MOST_FILES
    assert len(made) == MOST_FILES + 5
