"""The version log: record versions land exactly once, together with the cursor of their sync.

One transaction per chunk copies the rows to a temporary table, inserts those that are new
(insertion.py), keeps the rejected records, moves the cursor and counts. A kill anywhere leaves
data and cursor agreeing; a repeat adds nothing. Where records come from, and what makes one
acceptable, does not belong here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql

from foundation.counting import counted
from warehouse.landing.erased import Erased, read_erased, withhold
from warehouse.landing.errors import LoadInProgress, RejectLimitExceeded
from warehouse.landing.insertion import insert_new_versions
from warehouse.landing.records import Cursor, RecordCounts, RejectedRecord
from warehouse.relations import ENTITY_RELATIONS, LOAD_LOG, REJECTED_RECORDS, SYNC_CURSORS, WITHHELD_RECORDS

LOCK_WAIT_SECONDS = 30
LONGEST_REMARKS = 4000


@dataclass
class Load:
    """A load under way, with what it counted so far, and the cursor that it started from.

    `late`: of loaded, what earlier loads had passed over; `vanished`: records that the source no longer lists.
    `known_before` is how many of its rejected records an earlier, successful load had
    already left behind: they do not count towards the limit again.
    """

    load_id: int
    is_backfill: bool
    known_at: datetime
    started_from: datetime | None = None
    received: int = 0
    loaded: int = 0
    unchanged: int = 0
    rejected: int = 0
    late: int = 0
    vanished: int = 0
    known_before: int = field(default=0, repr=False)
    erased: Erased | None = field(default=None, repr=False)

    def take(self, after: Load) -> None:
        """Take over the counts of a chunk that has landed; one that did not land counts nothing."""
        self.received, self.loaded, self.unchanged = after.received, after.loaded, after.unchanged
        self.rejected, self.known_before = after.rejected, after.known_before


class VersionLog:
    """The version log of one company's entity, on a connection of its own in autocommit mode."""

    def __init__(self, connection: psycopg.Connection[Any], company_id: int, entity: str) -> None:
        if not connection.autocommit:
            raise ValueError("the version log opens its own transactions: give it an autocommit connection")
        self._connection = connection
        self._company_id = company_id
        self._entity = entity
        self._relation = ENTITY_RELATIONS[entity]
        self._key_name = f"{entity.removesuffix('s')}_id"
        self._key = sql.Identifier(self._key_name)

    @contextmanager
    def lock(self, wait_seconds: int = LOCK_WAIT_SECONDS) -> Iterator[None]:
        """Hold the right to load this entity; a second comer waits, then raises LoadInProgress.

        The server notices a killed holder: it checks every second that its client is still there.
        """
        name = _lock_name(self._company_id, self._entity)
        self._connection.execute("select set_config('client_connection_check_interval', '1s', false)")
        try:
            with self._connection.transaction():
                self._connection.execute("select set_config('lock_timeout', %s, true)", (f"{wait_seconds * 1000}ms",))
                self._connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (name,))
        except psycopg.errors.LockNotAvailable:
            raise LoadInProgress(
                f"{self._entity}: another load is still running after "
                f"{wait_seconds} s of waiting. Let it finish, or end it, and run this again."
            ) from None
        try:
            yield
        finally:
            if not self._connection.closed:
                self._connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (name,))

    def cursor(self) -> Cursor:
        """Where the last load stopped."""
        query = sql.SQL(
            "select cursor_updated_at, backfill_completed_at is not null from {} where company_id = %s and entity = %s"
        ).format(SYNC_CURSORS.identifier)
        row = self._connection.execute(query, (self._company_id, self._entity)).fetchone()
        return Cursor(*row) if row else Cursor(None, False)

    def open_load(
        self, *, updated_since: datetime | None, known_at: datetime, dagster_run_id: str | None = None
    ) -> Load:
        """Begin a load; call with the lock held. A load that a dead process left running is closed as failed."""
        cursor = self.cursor()
        is_backfill = not cursor.backfill_completed
        abandon = sql.SQL(
            "update {} set status = 'failed', finished_at = clock_timestamp(),"
            " error = 'The process ended before the load did; the next load went on from its cursor.'"
            " where company_id = %s and entity = %s and status = 'running'"
        ).format(LOAD_LOG.identifier)
        begin = sql.SQL(
            "insert into {} (company_id, entity, dagster_run_id, is_backfill, updated_since, known_at,"
            " started_at, status, received, loaded, unchanged, rejected)"
            " values (%s, %s, %s, %s, %s, %s, clock_timestamp(), 'running', 0, 0, 0, 0) returning load_id"
        ).format(LOAD_LOG.identifier)
        with self._connection.transaction():
            self._connection.execute(abandon, (self._company_id, self._entity))
            row = self._connection.execute(
                begin, (self._company_id, self._entity, dagster_run_id, is_backfill, updated_since, known_at)
            ).fetchone()
        assert row is not None  # noqa: S101 an insert that returns, returns a row
        return Load(
            load_id=row[0],
            is_backfill=is_backfill,
            known_at=known_at,
            started_from=cursor.updated_at,
            erased=read_erased(self._connection, self._company_id),
        )

    def land_chunk(
        self,
        load: Load,
        accepted: pa.Table,
        rejected: Sequence[RejectedRecord],
        *,
        received: int,
        cursor: datetime | None,
        reject_limit: float,
        is_stamped: bool = True,
    ) -> None:
        """Land a chunk in one transaction and add it to the load's counts.

        accepted: columns as in the raw table, without those that the warehouse itself fills, in the source's order.
        is_stamped: updated_at is the source's own; without it versions come from comparing with what is known.
        cursor: the newest updated_at of the chunk; it never passes the load's known_at nor goes back.
        Raises RejectLimitExceeded when the load's share of rejected records passes reject_limit (0 to 1):
        the rejected records are then on record, the chunk's other rows and the cursor are not, and only the former
        count as received. A single rejected record is never too many, unless the limit is 0.
        Records of a forgotten customer are not kept, and count as unchanged.
        """
        withheld: list[bytes] = []
        if load.erased is not None:
            accepted, withheld = load.erased.split(self._entity, accepted)
            rejected, named = load.erased.split_rejected(self._entity, rejected)
            withheld += named
        with self._connection.transaction(), self._connection.cursor() as database:
            known_before = self._keep_rejected(database, load, rejected)
            after = replace(
                load,
                received=load.received + received,
                rejected=load.rejected + len(rejected),
                known_before=load.known_before + known_before,
            )
            handed_over = after.received
            too_many = _too_many(after, reject_limit)
            if too_many:
                after.received = load.received + len(rejected)
            else:
                if withheld:
                    withhold(self._connection, self._company_id, self._entity, withheld)
                loaded = insert_new_versions(
                    database,
                    self._relation,
                    self._key_name,
                    accepted,
                    company_id=self._company_id,
                    load_id=load.load_id,
                    known_at=load.known_at,
                    is_backfill=load.is_backfill,
                    is_stamped=is_stamped,
                )
                after.loaded += loaded
                after.unchanged += received - len(rejected) - loaded
                if cursor is not None:
                    self._move_cursor(database, min(cursor, load.known_at))
            self._write_counts(database, after)
        load.take(after)
        if too_many:
            raise RejectLimitExceeded(
                f"{self._entity}: {load.rejected:,} of {counted(handed_over, 'record')}"
                f" broke the contract, more than the allowed share of {reject_limit:.1%}; most often:"
                f" {_commonest(rejected)}. {handed_over - load.received} others of these were not taken."
                " Mend the source or the mapping, or raise CHURN_REJECT_LIMIT."
                f" The records stand in {REJECTED_RECORDS}, load {load.load_id}."
            )

    def complete_load(
        self, load: Load, *, source_live: int | None, source_deleted: int | None, warehouse: RecordCounts | None
    ) -> None:
        """Close a load that read its source to the end; later loads are then no backfill."""
        finish = sql.SQL(
            "update {} set status = 'succeeded', finished_at = clock_timestamp(), source_live = %s,"
            " source_deleted = %s, warehouse_live = %s, warehouse_deleted = %s, late = %s, vanished = %s"
            " where load_id = %s"
        ).format(LOAD_LOG.identifier)
        complete = sql.SQL(
            "insert into {cursors} as known (company_id, entity, backfill_completed_at, moved_at)"
            " values (%(company)s, %(entity)s, %(known_at)s, %(known_at)s) on conflict (company_id, entity)"
            " do update set backfill_completed_at = excluded.backfill_completed_at"
            " where known.backfill_completed_at is null"
        ).format(cursors=SYNC_CURSORS.identifier)
        live, deleted = (warehouse.live, warehouse.deleted) if warehouse else (None, None)
        with self._connection.transaction():
            figures = (source_live, source_deleted, live, deleted, load.late, load.vanished, load.load_id)
            self._connection.execute(finish, figures)
            self._connection.execute(
                complete, {"company": self._company_id, "entity": self._entity, "known_at": load.known_at}
            )

    def fail_load(self, load: Load, error: str, *, rewind: bool = False) -> None:
        """Close a load that did not reach its source's end. What has landed stays; the next load goes on.

        With `rewind` the next one starts where this one started: for a source that cannot be trusted to
        have given everything up to the cursor.
        """
        query = sql.SQL(
            "update {} set status = 'failed', finished_at = clock_timestamp(), error = %s where load_id = %s"
        ).format(LOAD_LOG.identifier)
        back = sql.SQL(
            "update {} set cursor_updated_at = %s, moved_at = clock_timestamp() where company_id = %s and entity = %s"
        ).format(SYNC_CURSORS.identifier)
        with self._connection.transaction():
            self._connection.execute(query, (error.replace("\0", "\\0"), load.load_id))
            if rewind:
                self._connection.execute(back, (load.started_from, self._company_id, self._entity))

    def keep_remarks(self, load: Load, remarks: str) -> None:
        """Put on record what a person should know about how the source was read."""
        query = sql.SQL("update {} set remarks = %s where load_id = %s").format(LOAD_LOG.identifier)
        self._connection.execute(query, (remarks.replace("\0", "\\0")[:LONGEST_REMARKS], load.load_id))

    def count_records(self) -> RecordCounts:
        """What the warehouse holds, to lay beside the source's own totals."""
        newest = sql.SQL(
            "select count(*) filter (where not is_deleted), count(*) filter (where is_deleted and not is_vanished)"
            " from (select distinct on ({key}) is_deleted, is_vanished from {raw} where company_id = %s"
            # The key's order backwards, which its index gives without a sort.
            " order by {key} desc, updated_at desc, revision desc) as newest"
        ).format(key=self._key, raw=self._relation.identifier)
        standing = sql.SQL(
            "select count(distinct coalesce(rejected.record_id, rejected.payload_hash))"
            " from {rejected} as rejected where rejected.company_id = %s and rejected.entity = %s"
            " and not exists (select from {raw} as version where version.company_id = rejected.company_id"
            " and version.{key} = rejected.record_id and version.load_id > rejected.load_id)"
        ).format(rejected=REJECTED_RECORDS.identifier, raw=self._relation.identifier, key=self._key)
        live, deleted = self._connection.execute(newest, (self._company_id,)).fetchone() or (0, 0)
        (rejected,) = self._connection.execute(standing, (self._company_id, self._entity)).fetchone() or (0,)
        held_back = sql.SQL("select count(*) from {} where company_id = %s and entity = %s").format(
            WITHHELD_RECORDS.identifier
        )
        (withheld,) = self._connection.execute(held_back, (self._company_id, self._entity)).fetchone() or (0,)
        return RecordCounts(live=live, deleted=deleted, rejected=rejected, withheld=withheld)

    def _keep_rejected(self, database: psycopg.Cursor[Any], load: Load, rejected: Sequence[RejectedRecord]) -> int:
        """Put rejected records on record; returns how many a successful load had left behind already."""
        if not rejected:
            return 0
        values = {
            "company_id": self._company_id,
            "entity": self._entity,
            "load_id": load.load_id,
            "rejected_at": load.known_at,
            "ids": [record.record_id for record in rejected],
            "reasons": [record.reason for record in rejected],
            "payloads": [record.payload for record in rejected],
            "hashes": [record.payload_hash for record in rejected],
        }
        insert = sql.SQL(
            "insert into {} (company_id, entity, load_id, record_id, reason, payload, rejected_at, payload_hash)"
            " select %(company_id)s, %(entity)s, %(load_id)s, id, reason, payload::jsonb, %(rejected_at)s, hash"
            " from unnest(%(ids)s::text[], %(reasons)s::text[], %(payloads)s::text[], %(hashes)s::text[])"
            " as new (id, reason, payload, hash) on conflict do nothing"
        ).format(REJECTED_RECORDS.identifier)
        known = sql.SQL(
            "select count(*) from unnest(%(reasons)s::text[], %(hashes)s::text[]) as new (reason, hash)"
            " join {rejected} as old on old.company_id = %(company_id)s and old.entity = %(entity)s"
            " and old.payload_hash = new.hash and old.reason = new.reason"
            " where old.load_id <= (select max(load_id) from {loads}"
            " where company_id = %(company_id)s and entity = %(entity)s and status = 'succeeded')"
        ).format(rejected=REJECTED_RECORDS.identifier, loads=LOAD_LOG.identifier)
        database.execute(insert, values)
        (count,) = database.execute(known, values).fetchone() or (0,)
        return int(count)

    def _move_cursor(self, database: psycopg.Cursor[Any], cursor: datetime) -> None:
        move = sql.SQL(
            "insert into {} as known (company_id, entity, cursor_updated_at, moved_at)"
            " values (%(company)s, %(entity)s, %(cursor)s, clock_timestamp()) on conflict (company_id, entity)"
            " do update set cursor_updated_at = excluded.cursor_updated_at, moved_at = excluded.moved_at"
            " where known.cursor_updated_at is null or known.cursor_updated_at < excluded.cursor_updated_at"
        ).format(SYNC_CURSORS.identifier)
        database.execute(move, {"company": self._company_id, "entity": self._entity, "cursor": cursor})

    @staticmethod
    def _write_counts(database: psycopg.Cursor[Any], load: Load) -> None:
        query = sql.SQL(
            "update {} set received = %s, loaded = %s, unchanged = %s, rejected = %s where load_id = %s"
        ).format(LOAD_LOG.identifier)
        database.execute(query, (load.received, load.loaded, load.unchanged, load.rejected, load.load_id))


def hold_off_loads(
    connection: psycopg.Connection[Any], company_id: int, entities: Sequence[str], wait_seconds: int = LOCK_WAIT_SECONDS
) -> None:
    """Keep every load of a company waiting until the current transaction ends; raises LoadInProgress as `lock` does."""
    connection.execute("select set_config('lock_timeout', %s, true)", (f"{wait_seconds * 1000}ms",))
    try:
        for entity in entities:
            connection.execute(
                "select pg_advisory_xact_lock(hashtextextended(%s, 0))", (_lock_name(company_id, entity),)
            )
    except psycopg.errors.LockNotAvailable:
        raise LoadInProgress(
            f"A load is still running after {wait_seconds} s of waiting. Let it finish, or end it, and run this again."
        ) from None


def analyze(connection: psycopg.Connection[Any], entity: str) -> None:
    """Give the planner statistics of an entity's versions; as the owner, since Postgres lets nobody else."""
    connection.execute(sql.SQL("analyze {}").format(ENTITY_RELATIONS[entity].identifier))


def _lock_name(company_id: int, entity: str) -> str:
    return f"load {company_id} {entity}"


def _too_many(load: Load, reject_limit: float) -> bool:
    new = load.rejected - load.known_before
    seen = load.received - load.known_before
    return new > reject_limit * seen and (new > 1 or reject_limit == 0)


def _commonest(rejected: Sequence[RejectedRecord], limit: int = 3) -> str:
    counts: dict[str, int] = {}
    for record in rejected:
        counts[record.reason] = counts.get(record.reason, 0) + 1
    common = sorted(counts.items(), key=lambda pair: -pair[1])[:limit]
    return "; ".join(f"{reason} ({count})" for reason, count in common)
