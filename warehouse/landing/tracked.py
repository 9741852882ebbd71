"""Landing of tracked events: what arrived within some milliseconds by one COPY and merge, once per message id.

All that one call lands is one transaction with its counts. It waits while a customer of one of its companies is being
forgotten, or the company removed, and looks afterwards who may still come in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, LiteralString, NamedTuple

import psycopg

from warehouse.landing.records import RejectedRecord
from warehouse.relations import compose

Connection = psycopg.Connection[Any]

ENTITY = "tracked_events"
VISITORS = "visitors"
"""As which `ops.withheld_records` keeps the anonymous ids of customers who were forgotten."""
NOT_COLLECTED = "not collected"


class Outcome(StrEnum):
    """What became of an event that arrived; each is exactly one of these."""

    loaded = "loaded"
    duplicate = "duplicate"
    rejected = "rejected"
    dropped = "dropped"


class TrackedEvent(NamedTuple):
    """An event that keeps the contract; ``properties`` and ``context`` are JSON texts that jsonb takes."""

    message_id: str
    kind: str
    name: str | None
    anonymous_id: str | None
    customer_id: str | None
    previous_id: str | None
    properties: str | None
    context: str | None
    stated_at: datetime | None
    original_at: datetime | None
    sent_at: datetime | None
    received_at: datetime
    occurred_at: datetime


class Dropped(NamedTuple):
    """An event that is not kept, and why; nothing of what it said."""

    message_id: str | None
    reason: str


class Arrival(NamedTuple):
    """Something that arrived for a company by one of its sources."""

    company_id: int
    source: str
    event: TrackedEvent | RejectedRecord | Dropped


class Landed(NamedTuple):
    """What became of an arrival, and why it was not taken."""

    outcome: Outcome
    reason: str | None = None


_PREPARE: LiteralString = """
    set synchronous_commit = on;
    create temporary table arriving (
        number int, company_id int, source text, message_id text, kind text, name text, anonymous_id text,
        customer_id text, previous_id text, properties jsonb, context jsonb, stated_at timestamptz,
        original_at timestamptz, sent_at timestamptz, received_at timestamptz, occurred_at timestamptz
    ) on commit delete rows
"""
_COPY: LiteralString = "copy pg_temp.arriving from stdin"
# In the order of the key, so that two collectors with the same events cannot wait for each other.
_MERGE = compose("""
    insert into {tracked_events} (company_id, source, message_id, kind, name, anonymous_id, customer_id, previous_id,
        properties, context, stated_at, original_at, sent_at, received_at, occurred_at)
    select company_id, source, message_id, kind, name, anonymous_id, customer_id, previous_id,
        properties, context, stated_at, original_at, sent_at, received_at, occurred_at
    from pg_temp.arriving order by company_id, message_id
    on conflict (company_id, message_id) do nothing returning company_id, message_id
""")
_REJECT = compose("""
    insert into {rejected_records} (company_id, entity, record_id, reason, payload, payload_hash)
    values (%s, %s, %s, %s, %s::jsonb, %s) on conflict do nothing
""")
_COUNT = compose("""
    insert into {collected_events} as counted
        (company_id, source, received_on, collector, received, loaded, duplicate, rejected, dropped)
    values (%s, %s, (now() at time zone 'UTC')::date, %s, %s, %s, %s, %s, %s)
    on conflict (company_id, source, received_on, collector) do update set
        received = counted.received + excluded.received, loaded = counted.loaded + excluded.loaded,
        duplicate = counted.duplicate + excluded.duplicate, rejected = counted.rejected + excluded.rejected,
        dropped = counted.dropped + excluded.dropped
""")


def prepare(connection: Connection) -> None:
    """Make a connection of the collector's role ready to land: once, before the first `land`."""
    connection.execute(_PREPARE)
    connection.commit()


def land(connection: Connection, collector: str, arrivals: Sequence[Arrival]) -> list[Landed]:
    """Land what arrived and count it, in one transaction that is committed; returns what became of each, in order.

    ``collector`` tells processes apart that land at the same time. Of a message id that a company sends twice the first
    one stands. Raises psycopg.Error, and then nothing of it landed, unless the connection broke at the commit: the same
    arrivals can be given again, and are duplicates then.
    """
    with connection.transaction():
        company_ids = sorted({arrival.company_id for arrival in arrivals})
        collecting = _let_in(connection, company_ids)
        forgotten = _forgotten(connection, arrivals, {company_id for company_id, has in collecting.items() if has})
        landed: list[Landed | None] = [
            _refusal(arrival, collecting, number in forgotten) for number, arrival in enumerate(arrivals)
        ]
        _keep_rejected(connection, arrivals, landed)
        _merge(connection, arrivals, landed)
        whole = [outcome for outcome in landed if outcome is not None]
        _count(connection, collector, collecting, zip(arrivals, whole, strict=True))
    return whole


def _let_in(connection: Connection, company_ids: Sequence[int]) -> dict[int, bool]:
    """The companies that are there and active, and whether anybody of theirs was forgotten.

    Nobody removes them, or forgets customers of theirs, until the commit.
    """
    connection.execute(
        "select pg_advisory_xact_lock_shared(hashtextextended('load ' || id || ' ' || %s, 0))"
        " from unnest(%s::int[]) as id",
        [ENTITY, company_ids],
    )
    rows = connection.execute("select * from ops.collecting_companies(%s::int[])", [company_ids])
    return dict(rows.fetchall())


def _forgotten(connection: Connection, arrivals: Sequence[Arrival], company_ids: set[int]) -> set[int]:
    """Places of the arrivals that are of somebody who was forgotten."""
    asked = [
        (number, arrival.company_id, kind, text)
        for number, arrival in enumerate(arrivals)
        if arrival.company_id in company_ids and isinstance(event := arrival.event, TrackedEvent)
        for kind, text in (
            ("customer", event.customer_id),
            ("customer", event.previous_id),
            # What a customer sends from a device that was another's before is theirs.
            (f"record of {VISITORS}", None if event.customer_id else event.anonymous_id),
            (f"record of {VISITORS}", event.previous_id),
        )
        if text is not None
    ]
    if not asked:
        return set()
    rows = connection.execute(
        "select * from ops.forgotten(%s::int[], %s::text[], %s::text[])",
        [[row[1] for row in asked], [row[2] for row in asked], [row[3] for row in asked]],
    )
    return {asked[place - 1][0] for (place,) in rows}


def _refusal(arrival: Arrival, collecting: Container[int], is_forgotten: bool) -> Landed | None:
    if arrival.company_id not in collecting or is_forgotten:
        return Landed(Outcome.dropped, NOT_COLLECTED)
    if isinstance(arrival.event, Dropped):
        return Landed(Outcome.dropped, arrival.event.reason)
    if isinstance(arrival.event, RejectedRecord):
        return Landed(Outcome.rejected, arrival.event.reason)
    return None


def _keep_rejected(connection: Connection, arrivals: Sequence[Arrival], landed: Sequence[Landed | None]) -> None:
    rows = [
        (arrival.company_id, ENTITY, event.record_id, event.reason, event.payload, event.payload_hash)
        for arrival, outcome in zip(arrivals, landed, strict=True)
        if isinstance(event := arrival.event, RejectedRecord) and outcome and outcome.outcome is Outcome.rejected
    ]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(_REJECT, rows)


def _merge(connection: Connection, arrivals: Sequence[Arrival], landed: list[Landed | None]) -> None:
    first: dict[tuple[int, str], int] = {}
    rows = []
    for number, (arrival, outcome) in enumerate(zip(arrivals, landed, strict=True)):
        if outcome is not None or not isinstance(event := arrival.event, TrackedEvent):
            continue
        if first.setdefault((arrival.company_id, event.message_id), number) == number:
            rows.append((number, arrival.company_id, arrival.source, *event))
        landed[number] = Landed(Outcome.duplicate)
    if not rows:
        return
    with connection.cursor() as cursor:
        with cursor.copy(_COPY) as copy:
            for row in rows:
                copy.write_row(row)
        for key in cursor.execute(_MERGE):
            landed[first[key]] = Landed(Outcome.loaded)


def _count(
    connection: Connection, collector: str, collecting: Container[int], landed: Iterable[tuple[Arrival, Landed]]
) -> None:
    counts: dict[tuple[int, str], Counter[Outcome]] = {}
    for arrival, outcome in landed:
        if arrival.company_id in collecting:
            counts.setdefault((arrival.company_id, arrival.source), Counter())[outcome.outcome] += 1
    for (company_id, source), by_outcome in sorted(counts.items()):
        outcomes = [by_outcome[outcome] for outcome in Outcome]
        connection.execute(_COUNT, [company_id, source, collector, sum(outcomes), *outcomes])


def visitors_of(connection: Connection, company_id: int, customer_id: str) -> list[str]:
    """The anonymous ids under which a customer's devices sent events, as `identify` and `alias` tell."""
    rows = connection.execute(
        compose("""
        select anonymous_id from {tracked_events}
        where company_id = %(company)s and customer_id = %(customer)s and anonymous_id is not null
        union
        select previous_id from {tracked_events}
        where company_id = %(company)s and customer_id = %(customer)s and previous_id is not null
        """),
        {"company": company_id, "customer": customer_id},
    )
    return [visitor for (visitor,) in rows]


_TRACES: LiteralString = """
    from {tracked_events}
    where company_id = %(company)s
        and (previous_id = %(customer)s or customer_id is null and anonymous_id = any(%(visitors)s))
"""


def count_traces(connection: Connection, company_id: int, customer_id: str) -> int:
    """How many events tell of a customer without being theirs: of their devices before, or by an alias."""
    row = connection.execute(compose("select count(*)" + _TRACES), _traced(connection, company_id, customer_id))
    (count,) = row.fetchone() or (0,)
    return int(count)


def erase_traces(connection: Connection, company_id: int, customer_id: str) -> None:
    """Delete those events; what names the customer as its own goes with the customer."""
    connection.execute(compose("delete" + _TRACES), _traced(connection, company_id, customer_id))


def _traced(connection: Connection, company_id: int, customer_id: str) -> dict[str, Any]:
    visitors = visitors_of(connection, company_id, customer_id)
    return {"company": company_id, "customer": customer_id, "visitors": visitors}
