"""The change feed: what a publication adds to it, what compaction takes away, and the withdrawal of an entity.

Everybody who writes the feed holds PUBLISHING_LOCK until the commit, so that change_id grows in the order of
commits and a follower's cursor never skips.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, LiteralString

import psycopg
from psycopg.pq import TransactionStatus

from warehouse.errors import WarehouseError
from warehouse.publication.contract import Contract

PUBLISHING_LOCK = 7_412_001
LONGEST_WAIT = timedelta(minutes=10)
COMPACTION_ROWS = 50_000

ChangeReason = Literal["behaviour", "model", "correction"]


class PublisherBusy(WarehouseError):
    """Another publication went on for longer than this one would wait; nothing was published."""


@dataclass(frozen=True)
class Bands:
    """How far a score must have moved, since the feed last spoke of the customer, to be a change.

    ``probability``: in probability, 0 to 1. ``odds``: the share by which the odds moved where the risk level is
    another one; 0.1 asks for a tenth more, or a tenth less.
    """

    probability: float = 0.02
    odds: float = 0.1


DEFAULT_BANDS = Bands()

_CHANGED: LiteralString = """
create temporary table changed on commit drop as
select coalesce(staged.entity_id, sent.{entity_id}) as entity_id, staged.entity_id is null as is_gone,
    sent.{entity_id} is null as is_new, staged.probability, staged.risk_level, staged.reasons::json as reasons,
    staged.model_version, staged.row_hash
from (
    select * from {staged_scores} where company_id = %(company)s and task = {task} and as_of_date = %(date)s
) as staged
full join (
    select * from {sent_v1} where company_id = %(company)s
) as sent on staged.entity_id = sent.{entity_id}
where staged.entity_id is null
    or sent.{entity_id} is null
    or (
        staged.probability <> sent.{probability}
        and abs(staged.probability - sent.{probability}) >= %(probability_band)s
    )
    or (
        staged.risk_level <> sent.risk_level
        and abs(ln(staged.probability / (1 - staged.probability))
            - ln(sent.{probability} / (1 - sent.{probability}))) >= ln(1 + %(odds_band)s)
    )
    or (
        staged.row_hash <> sent.row_hash
        and sent.main_reason <> all (array[
            coalesce(staged.reasons -> 0 ->> 'feature', ''),
            coalesce(staged.reasons -> 1 ->> 'feature', ''),
            coalesce(staged.reasons -> 2 ->> 'feature', '')
        ])
    )
"""
_SEND_DELETES: LiteralString = """
with gone as (
    delete from {sent_v1} as sent using pg_temp.changed
    where changed.is_gone and sent.company_id = %(company)s and sent.{entity_id} = changed.entity_id
    returning sent.{entity_id} as entity_id, sent.row_hash
)
insert into {changes_v1} (company_id, {entity_id}, operation, change_reason, as_of_date, row_hash, changed_at)
select %(company)s, entity_id, 'delete',
    case when %(reason)s = 'model' then 'behaviour' else %(reason)s end, %(date)s, row_hash, %(at)s
from gone
"""
_SEND_UPSERTS: LiteralString = """
with added as (
    insert into {changes_v1} (company_id, {entity_id}, operation, change_reason, as_of_date,
        {probability}, risk_level, reasons, model_version, row_hash, changed_at)
    select %(company)s, entity_id, 'upsert',
        case when is_new and %(reason)s = 'model' then 'behaviour' else %(reason)s end,
        %(date)s, probability, risk_level, reasons, model_version, row_hash, %(at)s
    from pg_temp.changed
    where not is_gone
    returning company_id, {entity_id}, change_id, {probability}, risk_level, row_hash,
        reasons -> 0 ->> 'feature' as main_reason
)
insert into {sent_v1}
    (company_id, {entity_id}, change_id, {probability}, risk_level, row_hash, main_reason)
select company_id, {entity_id}, change_id, {probability}, risk_level, row_hash, main_reason from added
on conflict (company_id, {entity_id}) do update set change_id = excluded.change_id,
    {probability} = excluded.{probability}, risk_level = excluded.risk_level,
    row_hash = excluded.row_hash, main_reason = excluded.main_reason
"""


@dataclass(frozen=True)
class Cursors:
    """How far a company's feed goes, and how far back it is complete: a cursor below ``oldest`` missed changes."""

    newest: int = 0
    oldest: int = 0


@contextmanager
def publishing_lock(
    conn: psycopg.Connection[Any], company_id: int, wait: timedelta = LONGEST_WAIT
) -> Iterator[psycopg.Connection[Any]]:
    """One transaction that alone writes the feed; it commits at the end, or leaves everything as it was.

    It reads what others have committed before it got the lock, whatever isolation the server gives by default.
    Raises PublisherBusy after ``wait``, and ValueError inside a transaction, which would keep the lock.
    """
    if conn.info.transaction_status is not TransactionStatus.IDLE:
        raise ValueError("the feed is written in a transaction of its own; this connection is inside another one")
    before, conn.isolation_level = conn.isolation_level, psycopg.IsolationLevel.READ_COMMITTED
    try:
        with conn.transaction():
            hold_publications(conn, company_id, wait)
            # The sets are large and their statistics old: row by row is never right here.
            conn.execute("set local enable_nestloop = off")
            conn.execute("set local work_mem = '256MB'")
            yield conn
    finally:
        if conn.info.transaction_status is TransactionStatus.IDLE:
            conn.isolation_level = before


def hold_publications(conn: psycopg.Connection[Any], company_id: int, wait: timedelta = LONGEST_WAIT) -> None:
    """Keep every publication waiting until the current transaction ends. Raises PublisherBusy after ``wait``."""
    conn.execute("select set_config('lock_timeout', %s, true)", [f"{int(wait.total_seconds() * 1000)}ms"])
    try:
        conn.execute("select pg_advisory_xact_lock(%s)", [PUBLISHING_LOCK])
    except psycopg.errors.LockNotAvailable:
        raise PublisherBusy(
            f"Another publication has been going on for {wait.total_seconds():g} seconds; nothing of company "
            f"{company_id} was published, erased or changed. Run the command again."
        ) from None


def send_changes(
    conn: psycopg.Connection[Any],
    contract: Contract,
    company_id: int,
    as_of_date: date,
    reason: ChangeReason,
    bands: Bands,
    changed_at: datetime,
) -> tuple[int, int]:
    """Tell the feed what the staged scores changed; returns how many upserts and deletes that were.

    An upsert for each score that is new, or left its band: compared is with what was last sent, so that a slow drift
    is sent once it adds up. A wobble among the leading reasons is no change while the one that was sent first is still
    among the first three. A delete for each customer that the feed knows and the staged scores no longer hold.
    """
    values = {
        "company": company_id,
        "date": as_of_date,
        "reason": reason,
        "at": changed_at,
        "probability_band": bands.probability,
        "odds_band": bands.odds,
    }
    # By itself the comparison runs on several cores, which a statement that also writes never does.
    conn.execute(contract.compose(_CHANGED), values)
    deletes = conn.execute(contract.compose(_SEND_DELETES), values).rowcount
    upserts = conn.execute(contract.compose(_SEND_UPSERTS), values).rowcount
    return upserts, deletes


def move_cursor(conn: psycopg.Connection[Any], contract: Contract, company_id: int) -> int:
    """Bring the company's newest cursor up to its newest change, and return it (0 before the first)."""
    row = conn.execute(
        contract.compose("""
        insert into {cursors_v1} as cursors (company_id, newest_cursor)
        select %(company)s, coalesce(max(change_id), 0) from {changes_v1} where company_id = %(company)s
        on conflict (company_id) do update
            set newest_cursor = greatest(cursors.newest_cursor, excluded.newest_cursor)
        returning newest_cursor
        """),
        {"company": company_id},
    ).fetchone()
    assert row is not None  # noqa: S101 - the statement inserts or updates one row
    return int(row[0])


def feed_cursors(conn: psycopg.Connection[Any], contract: Contract, company_id: int) -> Cursors:
    """The company's cursors, as its followers see them."""
    row = conn.execute(
        contract.compose("select newest_cursor, oldest_cursor from {cursors_v1} where company_id = %s"),
        [company_id],
    ).fetchone()
    return Cursors(*row) if row else Cursors()


def compact_feed(conn: psycopg.Connection[Any], contract: Contract, company_id: int, before: datetime) -> int:
    """Take out what was published before ``before``, but for the newest upsert of each customer; returns how many.

    Steps of COMPACTION_ROWS rows, each a transaction that also moves ``oldest_cursor``, so that it may be killed at
    any time. Who reads from 0 still ends with the snapshot; whose cursor is below ``oldest_cursor`` may not.
    Raises PublisherBusy.
    """
    removed = 0
    while True:
        with publishing_lock(conn, company_id):
            step = _compact_step(conn, contract, company_id, before)
        removed += step
        if step < COMPACTION_ROWS:
            return removed


def _compact_step(conn: psycopg.Connection[Any], contract: Contract, company_id: int, before: datetime) -> int:
    conn.execute("set local enable_nestloop = on")
    row = conn.execute(
        contract.compose("""
        with old as (
            select change_id from {changes_v1} as changes
            where changes.company_id = %(company)s
                and changes.change_id <= (
                    select max(newest_cursor) from {publications_v1}
                    where company_id = %(company)s and published_at < %(before)s
                )
                and not exists (
                    select from {sent_v1} as sent
                    where sent.company_id = changes.company_id
                        and sent.{entity_id} = changes.{entity_id}
                        and sent.change_id = changes.change_id
                )
            order by changes.change_id
            limit %(rows)s
        ),
        removed as (
            delete from {changes_v1} as changes using old
            where changes.company_id = %(company)s and changes.change_id = old.change_id
            returning changes.change_id
        ),
        counted as (
            select count(*) as rows, max(change_id) as newest from removed
        ),
        moved as (
            update {cursors_v1} as cursors set oldest_cursor = greatest(cursors.oldest_cursor, counted.newest)
            from counted where cursors.company_id = %(company)s and counted.rows > 0
        )
        select rows from counted
        """),
        {"company": company_id, "before": before, "rows": COMPACTION_ROWS},
    ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always gives a row
    return int(row[0])


def withdraw_entity(
    conn: psycopg.Connection[Any], contract: Contract, company_id: int, entity_id: str, changed_at: datetime
) -> int | None:
    """Remove an entity's scores and changes for good, and tell the feed's followers by a delete.

    Returns the delete's change_id, or None for one that the feed never named. The delete carries the id and nothing
    else, and is compacted in its time. Raises PublisherBusy.
    """
    values = {"company": company_id, "entity": entity_id, "at": changed_at}
    with publishing_lock(conn, company_id):
        conn.execute(
            contract.compose("delete from {scores_v1} where company_id = %(company)s and {entity_id} = %(entity)s"),
            values,
        )
        conn.execute(
            contract.compose(
                "delete from {staged_scores}"
                " where company_id = %(company)s and task = {task} and entity_id = %(entity)s"
            ),
            values,
        )
        row = conn.execute(
            contract.compose("""
            with unsent as (
                delete from {sent_v1} where company_id = %(company)s and {entity_id} = %(entity)s
            ),
            removed as (
                delete from {changes_v1} where company_id = %(company)s and {entity_id} = %(entity)s
                returning change_id
            )
            insert into {changes_v1} (company_id, {entity_id}, operation, change_reason, as_of_date, changed_at)
            select %(company)s, %(entity)s, 'delete', 'correction', (%(at)s::timestamptz at time zone 'UTC')::date,
                %(at)s
            where exists (select from removed)
            returning change_id
            """),
            values,
        ).fetchone()
        move_cursor(conn, contract, company_id)
    return int(row[0]) if row else None
