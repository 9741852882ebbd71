"""Dagster's events beside an embedded Postgres: kept in the same files as Dagster's own storage, and read by it."""

from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage

from orchestration import dagster_home
from orchestration.event_storage import PooledSqliteEventLogStorage
from warehouse.connection import Warehouse
from warehouse.settings import Settings

ADDRESS = "postgresql://nobody@localhost/none"


@dg.asset
def planted() -> int:
    return 1


def test_every_event_of_a_run_is_there_for_dagsters_own_storage_in_the_same_files(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with dagster_home.instance(settings, Warehouse(ADDRESS)) as instance:
        assert isinstance(instance.event_log_storage, PooledSqliteEventLogStorage)
        run_ids = [dg.materialize([planted], instance=instance).run_id for _ in range(6)]
        ours = [event.timestamp for run_id in run_ids for event in instance.all_logs(run_id)]
    storage = dagster_home.directory(settings) / "storage"
    with dg.instance_for_test() as reader:
        theirs = SqliteEventLogStorage(str(storage / "history" / "runs"))
        theirs.register_instance(reader)
        found = [event.timestamp for run_id in run_ids for event in theirs.get_logs_for_run(run_id)]
        newest = theirs.get_latest_materialization_events([planted.key])[planted.key]
    assert found == ours
    assert len(found) > 6
    assert newest is not None
    assert newest.run_id == run_ids[-1]


def test_with_a_server_of_its_own_dagster_keeps_its_events_there(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=ADDRESS)
    assert (
        "postgresql+psycopg2://nobody@localhost/none"
        in (dagster_home.write(settings, Warehouse(ADDRESS)) / "dagster.yaml").read_text()
    )
