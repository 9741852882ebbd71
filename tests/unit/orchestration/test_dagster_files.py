"""Dagster's history in files: what is written is there for everybody, and nobody waits for the disk."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from orchestration import dagster_files, dagster_home
from warehouse.settings import Settings

PLACE = "company"
WRITES_AND_IS_KILLED = """
import os, sys
from pathlib import Path
from orchestration import dagster_home
from warehouse.settings import Settings

instance = dagster_home.instance(Settings(home=Path(sys.argv[1])))
instance.add_dynamic_partitions("company", ["acme"])
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def write_ahead_logs(settings: Settings) -> set[str]:
    return {file.name.removesuffix("-wal") for file in dagster_home.directory(settings).rglob("*.db-wal")}


def materialize(instance: dg.DagsterInstance) -> str:
    @dg.asset
    def customers() -> None:
        pass

    return dg.materialize([customers], instance=instance).run_id


def test_files_stay_open_between_events_and_others_read_what_was_written(settings: Settings) -> None:
    with dagster_home.instance(settings) as instance:
        run_id = materialize(instance)
        # A last connection that closes takes the write-ahead log with it, after a checkpoint.
        assert {"index.db", f"{run_id}.db"} <= write_ahead_logs(settings)
        with dagster_home.instance(settings) as of_somebody_else:
            assert len(of_somebody_else.all_logs(run_id)) == len(instance.all_logs(run_id)) > 5
    assert write_ahead_logs(settings) == set()
    with dagster_home.instance(settings) as afterwards:
        assert [run.status for run in afterwards.get_runs()] == [dg.DagsterRunStatus.SUCCESS]


def test_what_a_killed_process_wrote_is_kept(settings: Settings) -> None:
    killed = subprocess.run([sys.executable, "-c", WRITES_AND_IS_KILLED, str(settings.home)], check=False)
    assert killed.returncode == -9
    with dagster_home.instance(settings) as instance:
        assert instance.get_dynamic_partitions(PLACE) == ["acme"]


def test_a_few_files_are_kept_open_however_many_runs_there_are(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_files, "MOST_KEPT_OPEN", 3)
    with dagster_home.instance(settings) as instance:
        for _ in range(5):
            materialize(instance)
        assert len(write_ahead_logs(settings)) <= 3


def test_other_databases_are_left_as_they_are(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("crm") / "crm.db"
    with closing(sqlite3.connect(other)) as crm:
        crm.execute("pragma journal_mode = wal")
    engine = sa.create_engine(f"sqlite:///{other}", poolclass=sa.NullPool)
    with dagster_home.instance(settings):
        with engine.connect() as connection:
            assert connection.execute(sa.text("pragma synchronous")).scalar() == 2
        assert not other.with_name("crm.db-wal").exists()
