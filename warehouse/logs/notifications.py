"""What was told to whom. An alert is claimed before its message leaves, so that a crash tells it at most once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row

from warehouse import relations

MessageKind = Literal["digest", "weekly_report"]
Outcome = Literal["sent", "failed", "doubtful"]

# Any number will do, as long as nothing else in the warehouse takes it.
_SENDER_LOCK = 7_301_550_912


@dataclass(frozen=True)
class Claim:
    """One alert of one company (none: of the warehouse itself), and the customer that it speaks of, if any."""

    company_id: int | None
    key: str
    customer_id: str | None = None


@dataclass(frozen=True)
class Message:
    """A message as the log has it; `company` is None where it went to the operators."""

    notification_id: int
    company: str | None
    kind: str
    recipient: str
    subject: str
    status: str
    claimed_at: datetime
    finished_at: datetime | None
    alerts: int
    error: str | None


@contextmanager
def only_sender(connection: psycopg.Connection[Any]) -> Iterator[bool]:
    """Whether this process is the one that sends now. `connection` must be in autocommit.

    What a killed sender left as sending is doubtful from here on: it may have arrived.
    """
    row = connection.execute("select pg_try_advisory_lock(%s)", (_SENDER_LOCK,)).fetchone()
    if row is None or not row[0]:
        yield False
        return
    try:
        connection.execute(
            relations.compose(
                "update {notifications} set status = 'doubtful', error = 'the sender was killed while it sent'"
                " where status = 'sending'"
            )
        )
        yield True
    finally:
        connection.execute("select pg_advisory_unlock(%s)", (_SENDER_LOCK,))


def told(
    connection: psycopg.Connection[Any], recipient: str, claims: Sequence[Claim], customers_since: datetime
) -> set[Claim]:
    """Those of these alerts that the recipient was told of, or of whose customer they heard since that moment."""
    rows = connection.execute(
        relations.compose(
            "select company_id, alert_key, customer_id, told_at from {notified_alerts} where recipient = %s"
        ),
        (recipient,),
    ).fetchall()
    keys = {(company_id, key) for company_id, key, _, _ in rows}
    heard = {(company_id, customer) for company_id, _, customer, at in rows if customer and at > customers_since}
    return {
        claim
        for claim in claims
        if (claim.company_id, claim.key) in keys or (claim.company_id, claim.customer_id) in heard
    }


def claim_message(
    connection: psycopg.Connection[Any],
    *,
    company_id: int | None,
    kind: MessageKind,
    recipient: str,
    subject: str,
    claims: Sequence[Claim],
    now: datetime,
) -> int | None:
    """Claim alerts for a message that is about to leave; returns its id, or None where one was claimed already."""
    with connection.transaction():
        row = connection.execute(
            relations.compose(
                "insert into {notifications} (company_id, kind, recipient, subject, status, claimed_at)"
                " values (%s, %s, %s, %s, 'sending', %s) returning notification_id"
            ),
            (company_id, kind, recipient, subject, now),
        ).fetchone()
        assert row is not None  # noqa: S101  (returning gives the inserted row)
        notification_id = int(row[0])
        is_claimed = all(_claim(connection, claim, recipient, notification_id, now) for claim in claims)
        if not is_claimed:
            raise psycopg.Rollback
    return notification_id if is_claimed else None


def _claim(
    connection: psycopg.Connection[Any], claim: Claim, recipient: str, notification_id: int, now: datetime
) -> bool:
    done = connection.execute(
        relations.compose(
            "insert into {notified_alerts} (company_id, recipient, alert_key, customer_id, notification_id, told_at)"
            " values (%s, %s, %s, %s, %s, %s) on conflict do nothing"
        ),
        (claim.company_id, recipient, claim.key, claim.customer_id, notification_id, now),
    )
    return bool(done.rowcount)


def finish_message(
    connection: psycopg.Connection[Any], notification_id: int, outcome: Outcome, now: datetime, error: str | None
) -> None:
    """Say how it went. The alerts of a message that surely failed are free again, for the next one."""
    with connection.transaction():
        connection.execute(
            relations.compose(
                "update {notifications} set status = %s, finished_at = %s, error = %s where notification_id = %s"
            ),
            (outcome, now, error, notification_id),
        )
        if outcome == "failed":
            _release(connection, notification_id)


def give_up_doubtful(connection: psycopg.Connection[Any]) -> int:
    """Free the alerts of all doubtful messages, so that they are told again; returns how many messages."""
    with connection.transaction():
        rows = connection.execute(
            relations.compose(
                "update {notifications} set status = 'failed' where status = 'doubtful' returning notification_id"
            )
        ).fetchall()
        for (notification_id,) in rows:
            _release(connection, notification_id)
    return len(rows)


def list_messages(connection: psycopg.Connection[Any], limit: int) -> list[Message]:
    """The newest messages, the newest first."""
    query = relations.compose("""
    select notification_id, company.slug as company, kind, recipient, subject, status, claimed_at, finished_at,
        (select count(*) from {notified_alerts} as alert
         where alert.notification_id = message.notification_id) as alerts,
        error
    from {notifications} as message
    left join {companies} as company using (company_id)
    order by notification_id desc limit %s
    """)
    with connection.cursor(row_factory=class_row(Message)) as cursor:
        return cursor.execute(query, (limit,)).fetchall()


def _release(connection: psycopg.Connection[Any], notification_id: int) -> None:
    connection.execute(
        relations.compose("delete from {notified_alerts} where notification_id = %s"), (notification_id,)
    )
