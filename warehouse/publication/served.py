"""The contract as programs read it over HTTP: pages of one set, one customer's score, and the feed.

Every query is one company's own, on a session that row-level security keeps to it; `company_id` stands in them so that
the index is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from warehouse.publication.contract import Contract

Connection = psycopg.Connection[Any]
Row = dict[str, Any]
Order = Literal["-probability", "probability", "customer_id"]
ORDERS: tuple[Order, ...] = ("-probability", "probability", "customer_id")


@dataclass(frozen=True)
class PublishedOne:
    """One published set. `published_at` and `newest_cursor` are others where the same date is published again."""

    as_of_date: date
    model_version: str
    evidence_level: str
    scores: int
    published_at: datetime
    newest_cursor: int


@dataclass(frozen=True)
class Wanted:
    """Which scores of a set are asked for; None asks for all."""

    risk_level: str | None = None
    evidence_level: str | None = None
    least_probability: float | None = None
    most_probability: float | None = None


@dataclass(frozen=True)
class Place:
    """The last row of a page, after which the next begins."""

    probability: float
    customer_id: str


_SETS: LiteralString = """
    select as_of_date, model_version, evidence_level, scores, published_at, newest_cursor
    from {publications} where company_id = %(company)s and (%(date)s::date is null or as_of_date = %(date)s)
    order by as_of_date desc limit %(most)s
"""

_SCORES: LiteralString = """
    select {entity_id} as customer_id, as_of_date, {probability} as probability, probability_low, probability_high,
        risk_level, percentile, baseline_log_odds, reasons, families, evidence_level, evidence, horizon_curve,
        model_version, row_hash, scored_at
    from {scores}
"""

_PAGE: LiteralString = """
    where company_id = %(company)s and as_of_date = %(date)s
        and (%(risk_level)s::text is null or risk_level = %(risk_level)s)
        and (%(evidence_level)s::text is null or evidence_level = %(evidence_level)s)
        and (%(least)s::float8 is null or {probability} >= %(least)s)
        and (%(most)s::float8 is null or {probability} <= %(most)s)
"""

_AFTER: Mapping[Order, LiteralString] = {
    "-probability": " and ({probability} < %(p)s or ({probability} = %(p)s and {entity_id} > %(id)s))",
    "probability": " and ({probability} > %(p)s or ({probability} = %(p)s and {entity_id} > %(id)s))",
    "customer_id": " and {entity_id} > %(id)s",
}

_IN_ORDER: Mapping[Order, LiteralString] = {
    "-probability": " order by {probability} desc, {entity_id} limit %(limit)s",
    "probability": " order by {probability}, {entity_id} limit %(limit)s",
    "customer_id": " order by {entity_id} limit %(limit)s",
}

_ONE: LiteralString = " where company_id = %s and {entity_id} = %s and as_of_date = %s"
_HISTORY: LiteralString = (
    " where company_id = %s and {entity_id} = %s and as_of_date < %s order by as_of_date desc limit %s"
)

_CURSORS: LiteralString = "select newest_cursor, oldest_cursor from {cursors} where company_id = %s"
_CHANGES: LiteralString = """
    select change_id, {entity_id} as customer_id, operation, change_reason, as_of_date, {probability} as probability,
        risk_level, reasons, model_version, row_hash, changed_at
    from {changes} where company_id = %s and change_id > %s order by change_id limit %s
"""


def published_sets(
    connection: Connection, contract: Contract, company_id: int, *, of: date | None = None, most: int = 1
) -> list[PublishedOne]:
    """The company's published sets, the newest first; of one date, or ``most`` of them."""
    rows = connection.execute(contract.compose(_SETS), {"company": company_id, "date": of, "most": most}).fetchall()
    return [PublishedOne(*row) for row in rows]


def page_of_scores(
    connection: Connection,
    contract: Contract,
    company_id: int,
    day: date,
    wanted: Wanted,
    order: Order,
    after: Place | None,
    limit: int,
) -> list[Row]:
    """The next ``limit`` scores of the set of ``day``, after ``after``."""
    query = sql.Composed(
        [
            contract.compose(_SCORES),
            contract.compose(_PAGE),
            contract.compose(_AFTER[order] if after else ""),
            contract.compose(_IN_ORDER[order]),
        ]
    )
    asked = {
        "company": company_id,
        "date": day,
        "risk_level": wanted.risk_level,
        "evidence_level": wanted.evidence_level,
        "least": wanted.least_probability,
        "most": wanted.most_probability,
        "p": after.probability if after else None,
        "id": after.customer_id if after else None,
        "limit": limit,
    }
    return _rows(connection, query, asked)


def score_of(connection: Connection, contract: Contract, company_id: int, customer_id: str, day: date) -> Row | None:
    """A customer's score of one date; None where there is none."""
    query = sql.Composed([contract.compose(_SCORES), contract.compose(_ONE)])
    return next(iter(_rows(connection, query, [company_id, customer_id, day])), None)


def earlier_scores(
    connection: Connection, contract: Contract, company_id: int, customer_id: str, before: date, most: int
) -> list[Row]:
    """A customer's scores of earlier dates, the newest first."""
    query = sql.Composed([contract.compose(_SCORES), contract.compose(_HISTORY)])
    return _rows(connection, query, [company_id, customer_id, before, most])


def ends_of_feed(connection: Connection, contract: Contract, company_id: int) -> tuple[int, int]:
    """The newest cursor, and the oldest from which no change is missing; zeros before the first publication."""
    row = connection.execute(contract.compose(_CURSORS), [company_id]).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def page_of_changes(connection: Connection, contract: Contract, company_id: int, since: int, limit: int) -> list[Row]:
    """The next ``limit`` changes after the cursor ``since``."""
    return _rows(connection, contract.compose(_CHANGES), [company_id, since, limit])


def _rows(connection: Connection, query: sql.Composed, asked: Any) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, asked).fetchall()
