"""Publishing decisions: one company's set whole, with the feed of what is to be done, in one transaction.

Readers see the old set or the new one. The feed names customers with an action only: its delete says that nothing is to
be done any longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any, LiteralString

import psycopg
import pyarrow as pa
from psycopg import sql

from warehouse import relations
from warehouse.frames import copy_arrow
from warehouse.publication.contract import Contract
from warehouse.publication.feed import move_cursor, publishing_lock
from warehouse.relations import Relation

_MONEY = ("net_value_low", "net_value", "net_value_high")

DECISIONS = pa.schema(
    [
        ("company_id", pa.int32()),
        ("customer_id", pa.string()),
        ("as_of_date", pa.date32()),
        ("action", pa.string()),
        ("is_control", pa.bool_()),
        *((name, pa.float64()) for name in ("propensity", *_MONEY, "cost")),
        ("rests_on", pa.string()),
        ("decided_on", pa.date32()),
        ("reasons", pa.string()),
        ("value_segment", pa.string()),
        *((name, pa.float64()) for name in ("expected_value", "expected_low", "expected_high", "value_at_risk")),
        ("row_hash", pa.string()),
    ]
)
"""The columns of decisions to publish; reasons are JSON text."""

ENROLMENTS = pa.schema(
    [
        ("company_id", pa.int32()),
        ("action", pa.string()),
        ("customer_id", pa.string()),
        ("decided_on", pa.date32()),
        ("as_of_date", pa.date32()),
        ("is_control", pa.bool_()),
        ("is_explored", pa.bool_()),
        *((name, pa.float64()) for name in ("propensity", "draw_propensity", "cost", "worth", *_MONEY)),
        ("rests_on", pa.string()),
        ("value_segment", pa.string()),
    ]
)
"""The columns of what is newly decided."""

PLANS = pa.schema(
    [
        ("company_id", pa.int32()),
        ("action", pa.string()),
        ("decided_on", pa.date32()),
        ("period_start", pa.date32()),
        *((name, pa.string()) for name in ("label", "channel", "owner")),
        ("budget", pa.float64()),
        ("spent", pa.float64()),
        ("capacity", pa.int64()),
        *((name, pa.int64()) for name in ("treated", "controls", "eligible")),
        *((name, pa.float64()) for name in (*_MONEY, "at_most_more", "net_value_with_tenth_more")),
        ("net_value_at_weaker_effect", pa.float64()),
        ("status", pa.string()),
    ]
)
"""The columns of programmes on a day: see the comments on ml.programme_plans."""


class DecisionContract(Contract):
    """What is published of decisions, so that the feed's own functions (cursors, compaction, withdrawal) serve it."""

    @cached_property
    def scores(self) -> Relation:
        """Every published decision, by customer and date."""
        return Relation("predictions", self.task)

    @cached_property
    def scores_v1(self) -> Relation:
        """What is written where readers see `decisions`."""
        return Relation("predictions", f"{self.task}_v1")


CONTRACT = DecisionContract("decisions", "customer", outcome="")


@dataclass(frozen=True)
class DecidedSet:
    """A published set of decisions: customers, those to be treated, controls; and the feed's new rows."""

    as_of_date: date
    decisions: int
    to_treat: int
    controls: int
    upserts: int
    deletes: int


_SEND_DELETES: LiteralString = """
    with gone as (
        delete from {sent_v1} as sent
        where sent.company_id = %(company)s and not exists (
            select from {scores_v1} as decided
            where decided.company_id = %(company)s and decided.as_of_date = %(date)s and decided.action is not null
                and decided.customer_id = sent.customer_id
        )
        returning sent.customer_id, sent.row_hash
    )
    insert into {changes_v1} (company_id, customer_id, operation, change_reason, as_of_date, row_hash, changed_at)
    select %(company)s, customer_id, 'delete', %(reason)s, %(date)s, row_hash, %(at)s from gone
"""
_SEND_UPSERTS: LiteralString = """
    with added as (
        insert into {changes_v1} (company_id, customer_id, operation, change_reason, as_of_date, action, is_control,
            net_value, reasons, decided_on, row_hash, changed_at)
        select %(company)s, decided.customer_id, 'upsert', %(reason)s, %(date)s, decided.action, decided.is_control,
            decided.net_value, decided.reasons::json, decided.decided_on, decided.row_hash, %(at)s
        from {scores_v1} as decided
        left join {sent_v1} as sent on sent.company_id = %(company)s and sent.customer_id = decided.customer_id
        where decided.company_id = %(company)s and decided.as_of_date = %(date)s and decided.action is not null
            and sent.row_hash is distinct from decided.row_hash
        returning company_id, customer_id, change_id, row_hash
    )
    insert into {sent_v1} (company_id, customer_id, change_id, row_hash)
    select company_id, customer_id, change_id, row_hash from added
    on conflict (company_id, customer_id) do update
        set change_id = excluded.change_id, row_hash = excluded.row_hash
"""


def publish_decisions(
    conn: psycopg.Connection[Any],
    company_id: int,
    as_of_date: date,
    published_at: datetime,
    *,
    decisions: pa.Table,
    enrolments: pa.Table,
    plans: pa.Table,
) -> DecidedSet:
    """Publish a company's set of a date, and keep what is new in it, in one transaction of the connection's own.

    `decisions` has DECISIONS' columns, `enrolments` ENROLMENTS', `plans` PLANS'. A date that is older than the newest
    published one replaces its own rows and tells the feed nothing. Raises PublisherBusy.
    """
    values = {"company": company_id, "date": as_of_date, "at": published_at}
    with publishing_lock(conn, company_id), conn.cursor() as cursor:
        newest = _newest_date(cursor, company_id)
        _replace(cursor, values, decisions)
        copy_arrow(cursor, enrolments.select(ENROLMENTS.names).cast(ENROLMENTS), relations.ENROLMENTS)
        _replace_plans(cursor, company_id, plans)
        upserts = deletes = 0
        if newest is None or as_of_date >= newest:
            sent = values | {"reason": "correction" if as_of_date == newest else "behaviour"}
            deletes = cursor.execute(CONTRACT.compose(_SEND_DELETES), sent).rowcount
            upserts = cursor.execute(CONTRACT.compose(_SEND_UPSERTS), sent).rowcount
        published = _count(cursor, values)
        cursor.execute(
            CONTRACT.compose("""
            insert into {publications_v1}
                (company_id, as_of_date, decisions, to_treat, controls, published_at, newest_cursor)
            values (%s, %s, %s, %s, %s, %s, %s)
            on conflict (company_id, as_of_date) do update set decisions = excluded.decisions,
                to_treat = excluded.to_treat, controls = excluded.controls, published_at = excluded.published_at,
                newest_cursor = excluded.newest_cursor
            """),
            [company_id, as_of_date, *published, published_at, move_cursor(conn, CONTRACT, company_id)],
        )
    return DecidedSet(as_of_date, *published, upserts, deletes)


def _newest_date(cursor: psycopg.Cursor[Any], company_id: int) -> date | None:
    row = cursor.execute(
        CONTRACT.compose("select max(as_of_date) from {publications_v1} where company_id = %s"), [company_id]
    ).fetchone()
    return row[0] if row else None


def _replace(cursor: psycopg.Cursor[Any], values: dict[str, Any], decisions: pa.Table) -> None:
    cursor.execute(
        CONTRACT.compose("delete from {scores_v1} where company_id = %(company)s and as_of_date = %(date)s"), values
    )
    # Postgres copies into no table under row-level security.
    cursor.execute(CONTRACT.compose("create temporary table decided (like {scores_v1}) on commit drop"))
    copy_arrow(cursor, decisions.select(DECISIONS.names).cast(DECISIONS), "decided", ("reasons",))
    cursor.execute(
        CONTRACT.compose(
            "insert into {scores_v1} ({columns}) select {columns} from pg_temp.decided",
            columns=sql.SQL(", ").join(map(sql.Identifier, DECISIONS.names)),
        )
    )


def _replace_plans(cursor: psycopg.Cursor[Any], company_id: int, plans: pa.Table) -> None:
    for day in set(plans.column("decided_on").to_pylist()):
        cursor.execute(
            relations.compose("delete from {programme_plans} where company_id = %s and decided_on = %s"),
            [company_id, day],
        )
    copy_arrow(cursor, plans.select(PLANS.names).cast(PLANS), relations.PROGRAMME_PLANS)


def _count(cursor: psycopg.Cursor[Any], values: dict[str, Any]) -> tuple[int, int, int]:
    row = cursor.execute(
        CONTRACT.compose("""
        select count(*), count(*) filter (where action is not null and not is_control),
            count(*) filter (where is_control)
        from {scores_v1} where company_id = %(company)s and as_of_date = %(date)s
        """),
        values,
    ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always gives a row
    return int(row[0]), int(row[1]), int(row[2])
