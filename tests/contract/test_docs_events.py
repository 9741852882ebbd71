"""docs/events.md states the limits and fields that the collector has."""

from __future__ import annotations

from pathlib import Path

from pipeline.streaming import event_json, tracked_events
from serving.collector import limits
from serving.collector.app import RETRY, VERDICTS
from serving.collector.figures import Figures
from warehouse.companies import write_keys

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
FLOWING = " ".join(PAGE.split())


def row_of(beginning: str) -> str:
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| {beginning}")]
    return row


def test_limits_are_those_of_the_collector() -> None:
    assert f"| {limits.BATCH_EVENTS} |" in row_of("events of a request")
    assert f"| {limits.BODY_BYTES} bytes |" in row_of("a request, unpacked")
    assert f"| {write_keys.MOST_EVENT_BYTES} bytes," in row_of("an event, as JSON")
    assert f"| {event_json.DEEPEST} levels |" in row_of("nesting")
    assert f"| {write_keys.EVENTS_PER_SECOND}, or" in row_of("events of a key a second")
    assert f"at most {tracked_events.LONGEST_ID} characters" in FLOWING
    assert f"after {limits.BODY_SECONDS:.0f} seconds" in row_of("408")
    assert f"at most {limits.WAITING_EVENTS:,} events and {limits.WAITING_BYTES // 2**20} MiB wait" in " ".join(
        PAGE.split()
    )
    assert f"at most {event_json.LONGEST_KEPT // 1024} KiB of each" in FLOWING


def test_every_field_verdict_and_metric_is_described() -> None:
    fields = tracked_events._KNOWN - {"traits", *tracked_events._PASSED_OVER}
    assert [field for field in sorted(fields) if f"| `{field}` |" not in PAGE] == []
    assert [field for field in tracked_events._PASSED_OVER if f"`{field}`" not in PAGE] == []
    assert [verdict for verdict in {*VERDICTS.values(), RETRY} if f"| `{verdict}` |" not in PAGE] == []
    figures = Figures()
    figures.watch(int, bool)
    names = {f"{family.name}{'_total' if family.type == 'counter' else ''}" for family in figures.registry.collect()}
    assert [name for name in sorted(names) if f"| `{name}` |" not in PAGE] == []
