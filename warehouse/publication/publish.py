"""Publishing: staged scores become the published set of one company, all of them or none.

A company's scores are first staged, then judged by the gate, then published in one transaction
that also writes the change feed. Readers see the old set or the new one. What goes to the feed is
decided in ``publication_feed``.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import astuple, dataclass
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.rows import class_row

from foundation.model_version import ModelVersion
from warehouse import relations
from warehouse.errors import WarehouseError
from warehouse.frames import Encoded, copy_encoded, encode_rows
from warehouse.publication.contract import Contract
from warehouse.publication.feed import (
    DEFAULT_BANDS,
    LONGEST_WAIT,
    Bands,
    ChangeReason,
    move_cursor,
    publishing_lock,
    send_changes,
)

STAGING_LOCK = 7_412_002
ROWS_WORTH_TRUNCATING = 10_000

SCORES = pa.schema(
    [
        ("company_id", pa.int32()),
        ("task", pa.string()),
        ("entity_id", pa.string()),
        ("as_of_date", pa.date32()),
        ("probability", pa.float64()),
        ("risk_level", pa.string()),
        ("percentile", pa.float64()),
        ("baseline_log_odds", pa.float64()),
        ("reasons", pa.string()),
        ("model_version", pa.string()),
        ("evidence_level", pa.string()),
        ("row_hash", pa.string()),
        ("scored_at", pa.timestamp("us", "UTC")),
        ("probability_low", pa.float64()),
        ("probability_high", pa.float64()),
        ("families", pa.string()),
        ("evidence", pa.string()),
        ("horizon_curve", pa.string()),
    ]
)
JSON_COLUMNS = ("reasons", "families", "evidence", "horizon_curve")
"""The columns of scores to stage; those of JSON_COLUMNS are JSON text."""


_DELETE_STAGED = relations.compose("delete from {staged_scores} where company_id = %s and task = %s")


class NotPublishable(WarehouseError):
    """The staged scores of a company may not be published; the published ones stand."""


@dataclass(frozen=True)
class Publication:
    """What one publication did: rows in the new set, and the feed's new rows."""

    as_of_date: date
    scores: int
    upserts: int
    deletes: int


@dataclass(frozen=True)
class PublishedSet:
    """A published set of a company; `model_version` as it is published."""

    as_of_date: date
    model_version: str
    evidence_level: str
    scores: int
    published_at: datetime

    @property
    def version(self) -> ModelVersion:
        """The model that made it. Raises ValueError for a set of before models were registered."""
        return ModelVersion.parse(self.model_version)


def newest_publication(conn: psycopg.Connection[Any], contract: Contract, company_id: int) -> PublishedSet | None:
    """The newest published set of a company, or None before the first."""
    with conn.cursor(row_factory=class_row(PublishedSet)) as cursor:
        return cursor.execute(
            contract.compose("""
            select as_of_date, model_version, evidence_level, scores, published_at
            from {publications_v1}
            where company_id = %s order by as_of_date desc limit 1
            """),
            [company_id],
        ).fetchone()


def publication_before(
    conn: psycopg.Connection[Any], contract: Contract, company_id: int, as_of_date: date
) -> PublishedSet | None:
    """The newest published set of an earlier date than ``as_of_date``, or None."""
    with conn.cursor(row_factory=class_row(PublishedSet)) as cursor:
        return cursor.execute(
            contract.compose("""
            select as_of_date, model_version, evidence_level, scores, published_at
            from {publications_v1}
            where company_id = %s and as_of_date < %s order by as_of_date desc limit 1
            """),
            [company_id, as_of_date],
        ).fetchone()


def encode_scores(scores: pa.Table) -> Encoded:
    """Rows with the columns of SCORES, ready to be staged. Raises pyarrow.ArrowInvalid for a column of another type."""
    return encode_rows(scores.select(SCORES.names).cast(SCORES), JSON_COLUMNS)


def stage_scores(
    conn: psycopg.Connection[Any], company_id: int, task: str, scores: pa.Table | Iterable[Encoded]
) -> int:
    """Replace the company's staged scores of a task by ``scores``, whole or in encoded chunks; returns their number.

    ``scores`` has the columns of SCORES, and rows of this company and task only. One transaction: all chunks, or the
    old set.
    """
    rows = 0
    with conn.transaction(), conn.cursor() as cursor:
        _hold_staged_scores(conn, company_id)
        cursor.execute(_DELETE_STAGED, [company_id, task])
        for chunk in [encode_scores(scores)] if isinstance(scores, pa.Table) else scores:
            rows += copy_encoded(cursor, chunk, relations.STAGED_SCORES)
    return rows


def discard_staged(conn: psycopg.Connection[Any], company_id: int, task: str) -> None:
    """Take back what is staged."""
    with conn.transaction():
        _hold_staged_scores(conn, company_id)
        conn.execute(_DELETE_STAGED, [company_id, task])


def _hold_staged_scores(conn: psycopg.Connection[Any], company_id: int) -> None:
    """Wait for whoever stages or publishes this company's scores, and keep others waiting until the commit."""
    conn.execute("select pg_advisory_xact_lock(%s, %s)", [STAGING_LOCK, company_id])


def staged_date(conn: psycopg.Connection[Any], company_id: int, task: str) -> date | None:
    """The as_of_date of the company's staged scores, or None where nothing is staged."""
    row = conn.execute(
        relations.compose("select max(as_of_date) from {staged_scores} where company_id = %s and task = %s"),
        [company_id, task],
    ).fetchone()
    return row[0] if row else None


def is_publishable(conn: psycopg.Connection[Any], company_id: int, task: str, as_of_date: date) -> bool:
    """Whether what is staged now, and nothing staged before it, passed the gate."""
    staged = _staged_set(conn, company_id, task, as_of_date)
    return staged is not None and staged.is_publishable


@dataclass(frozen=True)
class _StagedSet:
    """What one reading of a company's staged scores of a date finds."""

    model_version: str
    evidence_level: str
    is_publishable: bool


def _staged_set(conn: psycopg.Connection[Any], company_id: int, task: str, as_of_date: date) -> _StagedSet | None:
    """None where nothing is staged. Publishable is what passed the gate: all rows, as they were staged then."""
    with conn.cursor(row_factory=class_row(_StagedSet)) as cursor:
        return cursor.execute(
            relations.compose("""
            select any_value(model_version) as model_version, any_value(evidence_level) as evidence_level,
                bool_and(staged_at = any (array(
                    select staged_at from {publication_gates}
                    where company_id = %(company)s and task = %(task)s and as_of_date = %(date)s
                    group by staged_at having bool_and(is_passed)
                ))) as is_publishable
            from {staged_scores}
            where company_id = %(company)s and task = %(task)s and as_of_date = %(date)s
            having count(*) > 0
            """),
            {"company": company_id, "task": task, "date": as_of_date},
        ).fetchone()


def publish_staged_scores(
    conn: psycopg.Connection[Any],
    contract: Contract,
    company_id: int,
    as_of_date: date,
    published_at: datetime,
    *,
    bands: Bands = DEFAULT_BANDS,
    wait: timedelta = LONGEST_WAIT,
) -> Publication:
    """Publish the company's staged scores in one transaction, which must be the connection's only one.

    A date that is not older than the newest published one becomes the current set, and what left its band goes to
    the feed; an older date replaces only its own rows. Publishing the same scores again changes nothing that a
    reader of the feed would see. Whoever publishes at the same time, for whichever company, waits.

    Raises NotPublishable if nothing is staged for that date, or the gate did not pass what is staged, and
    PublisherBusy where another publication goes on for longer than ``wait``.
    """
    with publishing_lock(conn, company_id, wait):
        _hold_staged_scores(conn, company_id)
        staged = _staged_set(conn, company_id, contract.task, as_of_date)
        if staged is None or not staged.is_publishable:
            raise NotPublishable(
                f"There are no staged scores of {contract.task} for {as_of_date} that passed the "
                f"gate; the published ones stand. {relations.PUBLICATION_GATES} says which check failed; `churn score` "
                "scores again."
            )
        newest = newest_publication(conn, contract, company_id)
        upserts = deletes = 0
        if newest is None or as_of_date >= newest.as_of_date:
            reason = _change_reason(staged, as_of_date, newest)
            upserts, deletes = send_changes(conn, contract, company_id, as_of_date, reason, bands, published_at)
        scores = _replace_set(conn, contract, company_id, as_of_date)
        published = PublishedSet(as_of_date, staged.model_version, staged.evidence_level, scores, published_at)
        _record_publication(conn, contract, company_id, published, move_cursor(conn, contract, company_id))
        _clear_staged(conn, company_id, contract.task, scores)
    return Publication(as_of_date, scores, upserts, deletes)


def _change_reason(staged: _StagedSet, as_of_date: date, newest: PublishedSet | None) -> ChangeReason:
    """Why this publication's changes are changes: another model, the same date again, or what customers did."""
    if newest is None:
        return "behaviour"
    if staged.model_version != newest.model_version:
        return "model"
    return "correction" if as_of_date == newest.as_of_date else "behaviour"


def _record_publication(
    conn: psycopg.Connection[Any], contract: Contract, company_id: int, published: PublishedSet, newest_cursor: int
) -> None:
    conn.execute(
        contract.compose("""
        insert into {publications_v1}
            (company_id, as_of_date, model_version, evidence_level, scores, published_at, newest_cursor)
        values (%s, %s, %s, %s, %s, %s, %s)
        on conflict (company_id, as_of_date) do update set model_version = excluded.model_version,
            evidence_level = excluded.evidence_level, scores = excluded.scores,
            published_at = excluded.published_at, newest_cursor = excluded.newest_cursor
        """),
        [company_id, *astuple(published), newest_cursor],
    )


def _replace_set(conn: psycopg.Connection[Any], contract: Contract, company_id: int, as_of_date: date) -> int:
    published = {"entity_id": contract.entity_id, "probability": contract.probability}
    staged = [name for name in SCORES.names if name != "task"]
    conn.execute(
        contract.compose("delete from {scores_v1} where company_id = %s and as_of_date = %s"), [company_id, as_of_date]
    )
    insert = contract.compose(
        """
        insert into {scores_v1} ({columns})
        select {staged} from {staged_scores} where company_id = %s and task = {task} and as_of_date = %s
        """,
        columns=sql.SQL(", ").join(sql.Identifier(published.get(name, name)) for name in staged),
        staged=sql.SQL(", ").join(map(sql.Identifier, staged)),
    )
    return conn.execute(insert, [company_id, as_of_date]).rowcount


def _clear_staged(conn: psycopg.Connection[Any], company_id: int, task: str, scores: int) -> None:
    """Take away what was published: a large set whole, where nobody is at the table and no other set stands there.

    Deleted rows would be read over once more by whoever stages and publishes next.
    """
    if scores >= ROWS_WORTH_TRUNCATING and _truncate_staged(conn, company_id, task):
        return
    conn.execute(_DELETE_STAGED, [company_id, task])


def _truncate_staged(conn: psycopg.Connection[Any], company_id: int, task: str) -> bool:
    others = relations.compose("""
        select exists (select from {staged_scores} where company_id < %(company)s)
            or exists (select from {staged_scores} where company_id > %(company)s)
            or exists (select from {staged_scores} where company_id = %(company)s and task <> %(task)s)
    """)
    with suppress(psycopg.errors.LockNotAvailable), conn.transaction():
        conn.execute(relations.compose("lock table {staged_scores} in access exclusive mode nowait"))
        if conn.execute(others, {"company": company_id, "task": task}).fetchone() != (False,):
            raise psycopg.Rollback
        conn.execute(relations.compose("truncate {staged_scores}"))
        return True
    return False
