"""A disk that fills: refused before, stopped on the way, told in a sentence. On a small tmpfs of its own."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.integration.warehouse.disks import fill, small_disk
from warehouse.connection import Warehouse
from warehouse.disk_space import (
    MIB,
    DiskAlmostFull,
    full_disk,
    in_words,
    last_use,
    refuse_without_room,
    watched,
)
from warehouse.settings import Settings

ROOT = Path(__file__).parents[3]


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk of so many MiB, of which nobody else writes."""
    with small_disk(tmp_path / "disk", request.param) as place:
        yield place


def settings_of(home: Path, reserve: int) -> Settings:
    return Settings(home=home, disk_reserve_mb=reserve, database_url=None)


@pytest.mark.parametrize("disk", [20], indirect=True)
def test_a_run_begins_only_where_the_reserve_is_free_and_says_where_it_may_not_last(disk: Path) -> None:
    settings = settings_of(disk, 10)
    told: list[str] = []
    refuse_without_room(settings, "score", told.append)
    assert told == []
    with watched(settings, "score"):
        (disk / "rows").write_bytes(b"\0" * 8 * MIB)
    used = last_use(settings, "score")
    assert used is not None
    assert 8 * MIB <= used < 9 * MIB
    assert "the last `score` took 8 MiB" in in_words(settings, "score")
    refuse_without_room(settings, "score", told.append)
    assert "may not last" in told[0]
    fill(disk, 9 * MIB)
    with pytest.raises(DiskAlmostFull, match=rf"{disk} is almost full: \d MiB are left, 10 MiB must.*does not begin"):
        refuse_without_room(settings, "score", told.append)
    (disk / "filler").unlink()
    refuse_without_room(settings, "score", told.append)


def test_a_memory_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 1)
    memory = tmp_path / "logs" / "disk_use.json"
    memory.parent.mkdir()
    memory.write_text('{"score": 12')
    assert last_use(settings, "score") is None
    with watched(settings, "score"):
        pass
    assert list(json.loads(memory.read_text())) == ["score"]


FILLS = """
import sys, time
from pathlib import Path
from warehouse.disk_space import stopped_for, watched
from warehouse.settings import Settings
home = Path(sys.argv[1])
try:
    with watched(Settings(home=home, disk_reserve_mb=10), "score"), (home / "rows").open("wb") as file:
        while True:
            file.write(b"0" * 100_000)
            file.flush()
            time.sleep(0.02)
except KeyboardInterrupt:
    print(stopped_for())
"""


@pytest.mark.parametrize("disk", [40], indirect=True)
def test_a_run_is_stopped_before_the_disk_is_full(disk: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILLS, str(disk)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert "`score` was stopped. Make room and run the same command again" in done.stdout
    assert shutil.disk_usage(disk).free > 2 * MIB
    assert not (disk / "logs").exists(), "what an unfinished run took says nothing of the next"


@pytest.mark.parametrize("disk", [4], indirect=True)
def test_errors_of_a_full_disk_are_one_sentence_whoever_tells_of_them(disk: Path) -> None:
    settings = settings_of(disk, 1)
    database = sqlite3.connect(disk / "events.db")
    database.execute("create table events (text)")
    rows = [["x" * 100_000]] * 100
    with pytest.raises(sqlite3.OperationalError) as of_sqlite:
        database.executemany("insert into events values (?)", rows)
    database.close()
    with pytest.raises(OSError, match="No space left") as of_a_file:
        (disk / "file").write_bytes(b"\0" * 8 * MIB)
    for told in (of_sqlite, of_a_file):
        error = full_disk(told.value, settings)
        assert "the command was cut off. Make room" in str(error)
    assert full_disk(ValueError("no space left on device, said a record"), settings) is None


@pytest.mark.parametrize("disk", [150], indirect=True)
def test_postgres_on_a_full_disk_is_told_of_and_goes_on_after_room_was_made(disk: Path) -> None:
    settings = settings_of(disk, 1)
    with Warehouse.open(settings) as warehouse:
        with warehouse.connect() as connection:
            connection.execute("create table kept as select 1 as number")
        fill(disk, 8 * MIB)
        with pytest.raises(psycopg.Error) as told, warehouse.connect() as connection:
            connection.execute("create table much as select repeat('x', 1000) from generate_series(1, 100000)")
        assert full_disk(told.value, settings) is not None, repr(told.value)
        (disk / "filler").unlink()
        with warehouse.connect() as connection:
            assert connection.execute("select number, to_regclass('much') from kept").fetchall() == [(1, None)]
