"""Files through their connector, beside Arrow's own CSV reader, which checks nothing.

    python -m benchmarks.files [--lines 200000] [--rounds 3]

The lines are a shop's: they are read as events, column by column against the contract; grouped into payments by a
query; and read as events from a file that declares a decimal comma and its dates. Seconds are of processor time, so
that a busy machine changes little.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.csv as arrow_csv

from pipeline.connectors.contract import EVENTS, PAYMENTS, Entity
from pipeline.connectors.files import Files, FileSettings
from pipeline.connectors.validation import Reading

READING = Reading(ZoneInfo("Europe/London"), datetime(2026, 1, 1, tzinfo=UTC))
COLUMNS = {"event_id": "line", "customer_id": "who", "name": "item", "amount": "price", "occurred_at": "day"}
EVENT = {"columns": COLUMNS | {"updated_at": "day"}}
QUERY = """
    select invoice as payment_id, any_value(who) as customer_id, 'charge' as kind, sum(price) as amount,
        min(day) as issued_at, max(day) as updated_at
    from lines group by invoice
"""
PROMISED_SECONDS = 30
"""Per million lines, of one core, for the events of a plain file."""


def write_lines(folder: Path, lines: int) -> None:
    """The same lines twice: plain, and with semicolons, a decimal comma and days first."""
    chance = np.random.default_rng(7)
    cents = chance.integers(1, 100_000, lines).tolist()
    customers = chance.integers(0, max(1, lines // 50), lines).tolist()
    start = datetime(2025, 1, 1, tzinfo=UTC)
    with (folder / "plain.csv").open("w") as plain, (folder / "german.csv").open("w") as german:
        plain.write("line,invoice,who,item,price,day,note\n")
        german.write("line;invoice;who;item;price;day;note\n")
        for line in range(lines):
            at = start + timedelta(minutes=line % 400_000)
            start_of_line = [f"{line:09d}", f"i{line // 20}", f"c{customers[line]}", f"item {line % 900}"]
            euros, rest = divmod(cents[line], 100)
            plain.write(",".join([*start_of_line, f"{euros}.{rest:02}", f"{at:%Y-%m-%d %H:%M}", "a gift"]) + "\n")
            german.write(";".join([*start_of_line, f"{euros},{rest:02}", f"{at:%d.%m.%Y %H:%M}", "a gift"]) + "\n")


def read(folder: Path, entity: Entity, settings: dict[str, Any], lines: int) -> None:
    """All records, as a sync takes them."""
    source = Files("bench", FileSettings.model_validate({"directory": str(folder)} | settings), folder, READING)
    chunks = list(source.read(entity, None, 25_000))
    assert not any(chunk.rejected for chunk in chunks)
    assert sum(chunk.received for chunk in chunks) >= lines / 20
    source.close()


def seconds_of(way: Callable[[], object]) -> float:
    """Processor time."""
    started = time.process_time()
    way()
    return time.process_time() - started


def main() -> None:
    """Measure, print, and exit 1 where the promise is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_lines(folder, arguments.lines)
        german = {"delimiter": ";", "decimal": ",", "date_format": "%d.%m.%Y %H:%M"}
        table = {"path": "plain.csv", "types": {"price": "number"}}
        settings: dict[str, tuple[Entity, dict[str, Any]]] = {
            "events": (EVENTS, {"files": {"events": {"path": "plain.csv"} | EVENT}}),
            "events, declared": (EVENTS, {"files": {"events": {"path": "german.csv"} | german | EVENT}}),
            "payments by a query": (PAYMENTS, {"tables": {"lines": table}, "files": {"payments": {"query": QUERY}}}),
        }
        ways: dict[str, Callable[[], object]] = {"Arrow's CSV reader": lambda: arrow_csv.read_csv(folder / "plain.csv")}
        for way, (entity, setting) in settings.items():
            ways[way] = lambda entity=entity, setting=setting: read(folder, entity, setting, arguments.lines)
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(arguments.rounds):
            for way, run in ways.items():
                taken[way].append(seconds_of(run))
    print(f"{arguments.lines:,} lines, medians of {arguments.rounds}, seconds of a core per million lines")
    million = {way: statistics.median(seconds) * 1_000_000 / arguments.lines for way, seconds in taken.items()}
    for way, seconds in million.items():
        print(f"  {way:24} {seconds:8.1f}")
    if million["events"] > PROMISED_SECONDS:
        print(f"  MISSED: at most {PROMISED_SECONDS} were promised for events")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
