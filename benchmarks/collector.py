"""The collector, beside a bare COPY of the same rows and bare inserts of them, into a table of the same kind.

    python -m benchmarks.collector [--events 200000] [--rounds 2]

One run, on an embedded Postgres of its own that waits for its disk, ways taken in turn so that a busy machine slows all
alike. Senders share the two cores with the collector and Postgres. Bodies are made before: batches of 100 events of 450
bytes. First as fast as answers come, by eight connections; then at half of the goal, each batch at its appointed time,
from which its answer is counted. The collector's memory is looked at after every tenth of the events.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg

from pipeline.companies import parse_definition
from pipeline.prediction.tasks import CONTRACTS
from pipeline.streaming.tracked_events import read_event
from warehouse.companies.registry import add_company
from warehouse.companies.write_keys import create_write_key
from warehouse.connection import Warehouse
from warehouse.landing.tracked import TrackedEvent
from warehouse.migrate import migrate
from warehouse.settings import Settings

GOAL_PER_SECOND = 10_000
GOAL_P99_MS = 100
BATCH = 100
CONNECTIONS = 8
PORT, METRICS_PORT = 18790, 19465
MOST_CPU_MICROSECONDS = 100
"""An event, in the collector and in Postgres: the goal on half of two cores, however busy the machine is."""
GROWN_MIB = 64
"""By which memory may grow from the first tenth of the events to the last."""

COLUMNS = ", ".join(("company_id", "source", *TrackedEvent._fields))


def event(run: str, number: int) -> dict[str, Any]:
    """An event of a web shop, as its page sends it: 450 bytes."""
    moment = datetime.now(UTC).isoformat()
    return {
        "type": "track",
        "messageId": f"{run}-{number:012d}",
        "event": "Product Viewed",
        "anonymousId": f"visitor-{number % 5000:08d}",
        "properties": {"product_id": f"sku-{number % 900}", "price": 19.5, "currency": "EUR", "category": "shoes"},
        "context": {"page": {"path": f"/shoes/{number % 900}", "referrer": "https://search.example"}, "locale": "en"},
        "originalTimestamp": moment,
        "sentAt": moment,
    }


def bodies(run: str, events: int) -> list[bytes]:
    """Requests' bodies of so many events."""
    return [
        json.dumps({"batch": [event(run, first + number) for number in range(BATCH)]}).encode()
        for first in range(0, events, BATCH)
    ]


class Load:
    """Batches sent by several connections; ``seconds`` are those from its time, or from sending, to each answer."""

    def __init__(self, key: str, batches: Sequence[bytes], per_second: float | None = None) -> None:
        self._key = key
        self._batches = batches
        self._per_second = per_second
        self._next = 0
        self._lock = threading.Lock()
        self.seconds: list[float] = []
        self.took = 0.0

    def run(self) -> Load:
        """Send all of them."""
        threads = [threading.Thread(target=self._send) for _ in range(CONNECTIONS)]
        self._begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.took = time.perf_counter() - self._begun
        assert len(self.seconds) == len(self._batches)
        return self

    def _send(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
        while True:
            with self._lock:
                number = self._next
                self._next += 1
            if number >= len(self._batches):
                return
            due = time.perf_counter()
            if self._per_second is not None:
                due = self._begun + number * BATCH / self._per_second
                time.sleep(max(0.0, due - time.perf_counter()))
            connection.request("POST", "/v1/batch", self._batches[number], {"Authorization": f"Bearer {self._key}"})
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200, content[:300]
            assert content.count(b'"ok"') == BATCH
            self.seconds.append(time.perf_counter() - due)

    def percentile(self, percent: int) -> float:
        """Milliseconds within which so many of a hundred answers came."""
        return statistics.quantiles(self.seconds, n=100)[percent - 1] * 1000


def bare_rows(batches: Sequence[bytes], company_id: int) -> list[list[tuple[Any, ...]]]:
    """The rows of these batches, as the collector writes them."""
    now = datetime.now(UTC)
    rows = []
    for batch in batches:
        events = [read_event(raw, now) for raw in json.loads(batch)["batch"]]
        rows.append([(company_id, "bench", *tracked) for tracked in events if isinstance(tracked, TrackedEvent)])
    return rows


def bare_copy(conn: psycopg.Connection[Any], batches: Sequence[Sequence[tuple[Any, ...]]]) -> None:
    """All rows by one COPY."""
    with conn.cursor() as cursor, cursor.copy(f"copy bench.bare ({COLUMNS}) from stdin") as copy:  # type: ignore[arg-type]
        for batch in batches:
            for row in batch:
                copy.write_row(row)
    conn.commit()


def bare_inserts(conn: psycopg.Connection[Any], batches: Sequence[Sequence[tuple[Any, ...]]]) -> None:
    """A row by an insert, a batch by a transaction."""
    values = ", ".join(["%s"] * (COLUMNS.count(",") + 1))
    for batch in batches:
        with conn.cursor() as cursor:
            cursor.executemany(f"insert into bench.bare ({COLUMNS}) values ({values})", batch)  # type: ignore[arg-type]
        conn.commit()


def bare_speed(
    warehouse: Warehouse,
    way: Callable[[psycopg.Connection[Any], Sequence[Sequence[tuple[Any, ...]]]], None],
    batches: Sequence[Sequence[tuple[Any, ...]]],
) -> float:
    """Events a second by a bare way."""
    with warehouse.connect() as conn:
        conn.execute("create schema if not exists bench")
        conn.execute("drop table if exists bench.bare")
        conn.execute("create table bench.bare (like raw.tracked_events including all)")
        conn.commit()
        begun = time.perf_counter()
        way(conn, batches)
        return sum(map(len, batches)) / (time.perf_counter() - begun)


def main() -> None:
    """Print the figures; exit 1 where an event takes too much CPU, or memory grows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Warehouse.open(Settings(home=Path(folder))) as warehouse:
        migrate(warehouse, CONTRACTS)
        with warehouse.connect() as conn:
            company = add_company(conn, parse_definition(BENCH), "bench")
            key = create_write_key(conn, "bench", "bench", actor="bench", events_per_second=1_000_000).text
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "serving.collector"),
                *("--port", str(PORT), "--metrics-port", str(METRICS_PORT)),
            ],
            env={**os.environ, "CHURN_HOME": folder},
        )
        try:
            wait_until_ready()
            postmaster = int(next(Path(folder).rglob("postmaster.pid")).read_text().split()[0])
            processes = psutil.Process(process.pid), psutil.Process(postmaster)
            failed = measure(warehouse, company.company_id, key, *processes, arguments)
        finally:
            process.terminate()
            process.wait()
    if failed:
        raise SystemExit("; ".join(failed))


BENCH = {
    "slug": "bench",
    "name": "Bench",
    "connector": "habari_api",
    "currency": "EUR",
    "time_zone": "UTC",
    "churn_kind": "cancellation",
    "horizon_days": 30,
}


def wait_until_ready() -> None:
    """Until the collector takes events."""
    for _ in range(600):
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("The collector does not begin.")


def seconds_used(*processes: psutil.Process) -> float:
    """CPU of these processes."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def measure(
    warehouse: Warehouse,
    company_id: int,
    key: str,
    process: psutil.Process,
    postgres: psutil.Process,
    arguments: argparse.Namespace,
) -> list[str]:
    """Print what was measured; returns which promises were missed."""
    speeds: dict[str, list[float]] = {"collector": [], "bare COPY": [], "bare inserts": []}
    part = arguments.events // arguments.rounds // BATCH * BATCH
    memory: list[float] = []
    used = used_by_postgres = 0.0
    loads = []
    for number in range(arguments.rounds):
        batches = bodies(f"full{number}", part)
        tenth = max(1, len(batches) * arguments.rounds // 10)
        round_loads = []
        backends = postgres.children()
        before = seconds_used(process), seconds_used(*backends)
        for first in range(0, len(batches), tenth):
            round_loads.append(Load(key, batches[first : first + tenth]).run())
            memory.append(process.memory_info().rss / 2**20)
        loads += round_loads
        speeds["collector"].append(part / sum(load.took for load in round_loads))
        used += seconds_used(process) - before[0]
        used_by_postgres += seconds_used(*backends) - before[1]
        rows = bare_rows(batches[: max(1, len(batches) // 4)], company_id)
        speeds["bare COPY"].append(bare_speed(warehouse, bare_copy, rows))
        speeds["bare inserts"].append(bare_speed(warehouse, bare_inserts, rows))
    half = Load(key, bodies("half", min(part, GOAL_PER_SECOND * 15)), per_second=GOAL_PER_SECOND / 2).run()
    medians = {way: statistics.median(speed) for way, speed in speeds.items()}
    for way, speed in medians.items():
        print(f"{way:>12}: {speed:>7,.0f} events/s, {speed / medians['bare COPY']:.2f} of a bare COPY")
    full = [seconds for load in loads for seconds in load.seconds]
    points = statistics.quantiles(full, n=100)
    print(f"as fast as it goes: p50 {points[49] * 1000:.0f} ms, p99 {points[98] * 1000:.0f} ms")
    print(f"at {GOAL_PER_SECOND // 2:,}/s: p50 {half.percentile(50):.0f} ms, p99 {half.percentile(99):.0f} ms")
    print(f"goal: {GOAL_PER_SECOND:,} events/s, p99 under {GOAL_P99_MS} ms at half of that")
    each = 1e6 / part / arguments.rounds
    print(f"CPU an event: {used * each:.0f} microseconds in the collector, {used_by_postgres * each:.0f} in Postgres")
    print(f"memory: {memory[0]:.0f} MiB after a tenth, {memory[-1]:.0f} MiB after {arguments.events:,} events")
    missed = []
    if (used + used_by_postgres) * each > MOST_CPU_MICROSECONDS:
        missed.append(f"more than {MOST_CPU_MICROSECONDS} microseconds of CPU an event")
    if memory[-1] - memory[0] > GROWN_MIB:
        missed.append(f"memory grew by more than {GROWN_MIB} MiB")
    return missed


if __name__ == "__main__":
    main()
