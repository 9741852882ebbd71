"""When a sync compares ids with its source, and when it believes what it sees."""

from __future__ import annotations

from datetime import datetime, timedelta

from foundation.counting import agreeing, counted
from pipeline.connectors.contract import Entity, ListedSource, SparingSource, Totals
from warehouse.landing.listing import Comparison
from warehouse.landing.records import RecordCounts

COMPARED_EVERY = timedelta(days=7)


def unaccounted(totals: Totals | None, counts: RecordCounts | None) -> int | None:
    """By how many records source and warehouse differ beyond what rejected and withheld records can explain."""
    if totals is None or counts is None:
        return None
    difference = abs(totals.live - counts.live) + abs(totals.deleted - counts.deleted)
    return max(0, difference - counts.rejected - counts.withheld)


def is_compared(source: ListedSource, entity: Entity) -> bool:
    """Whether this source's ids are compared at all: not where reading all of it costs too much."""
    return not isinstance(source, SparingSource) or source.is_reread(entity)


def is_comparison_due(last: Comparison, now: datetime, difference: int | None) -> bool:
    """Whether the last comparison is a week old, or counts differ in a way that it did not leave behind."""
    if last.compared_at is None or now - last.compared_at >= COMPARED_EVERY:
        return True
    return bool(difference) and difference != last.still_unaccounted


def why_not_whole(listed: int, unnamed: int, totals: Totals | None) -> str | None:
    """Why a record that a list lacks may not be gone; None where the list has every record.

    Paging may pass over a record, and one whose id cannot be read might be any.
    """
    if unnamed:
        records, have = counted(unnamed, "record"), agreeing(unnamed, "have")
        return f"Deletions are not looked for: {records} {have} no id that can be read, and might be any."
    expected = 0 if totals is None else totals.live + totals.deleted
    if listed < expected:
        return f"Deletions are not looked for: {listed:,} of the {expected:,} records of the source were listed."
    return None
