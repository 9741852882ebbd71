"""The gate: what staged scores must be before they may be published.

It is judged per company, so that one company's held scores never hold another's.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from warehouse import relations

# A company whose newest set shrinks below this share of the one before has lost data, not customers.
SMALLEST_SHARE_OF_PREVIOUS = 0.5

# Features of a date that rest on loads older than this would show an outage as customers' silence.
OLDEST_LOAD_DAYS = 2


@dataclass(frozen=True)
class GateCheck:
    """One question that staged scores must answer before they are published."""

    name: str
    passed: bool
    detail: str


def run_gate(conn: psycopg.Connection[Any], company_id: int, as_of_date: date, now: datetime) -> list[GateCheck]:
    """Judge the company's staged scores, and keep the verdict in ``ml.publication_gates``."""
    with conn.transaction():
        checks = [
            _covers_the_matrix(conn, company_id, as_of_date),
            _probabilities_in_range(conn, company_id),
            _reasons_add_up(conn, company_id),
            _no_sudden_loss(conn, company_id, as_of_date),
            _rests_on_fresh_loads(conn, company_id, as_of_date),
        ]
        conn.execute(
            relations.compose("""
            insert into {publication_gates} (company_id, as_of_date, staged_at, checked_at, is_passed, checks)
            values (%s, %s, (select max(staged_at) from {staged_scores} where company_id = %s), %s, %s, %s)
            """),
            [
                company_id,
                as_of_date,
                company_id,
                now,
                all(check.passed for check in checks),
                Jsonb([{"name": c.name, "passed": c.passed, "detail": c.detail} for c in checks]),
            ],
        )
    return checks


def _one(conn: psycopg.Connection[Any], query: sql.Composed, values: list[object]) -> tuple[int, ...]:
    row = conn.execute(query, values).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always gives a row
    return tuple(row)


def _covers_the_matrix(conn: psycopg.Connection[Any], company_id: int, as_of_date: date) -> GateCheck:
    missing, extra, rows = _one(
        conn,
        relations.compose("""
        select count(*) filter (where staged.customer_id is null),
               count(*) filter (where matrix.customer_id is null),
               count(*)
        from (select customer_id from {churn_feature_matrix} where company_id = %s and as_of_date = %s) matrix
        full join (select customer_id from {staged_scores} where company_id = %s and as_of_date = %s) staged
            using (customer_id)
        """),
        [company_id, as_of_date, company_id, as_of_date],
    )
    detail = f"{rows} customers; {missing} active ones without a score, {extra} scores without a feature row"
    return GateCheck("every active customer has a score", rows > 0 and missing == extra == 0, detail)


def _probabilities_in_range(conn: psycopg.Connection[Any], company_id: int) -> GateCheck:
    (bad,) = _one(
        conn,
        relations.compose("""
        select count(*) filter (
            where not (churn_probability > 0 and churn_probability < 1) or percentile is null
        )
        from {staged_scores} where company_id = %s
        """),
        [company_id],
    )
    return GateCheck("probabilities lie between 0 and 1", bad == 0, f"{bad} outside")


def _reasons_add_up(conn: psycopg.Connection[Any], company_id: int) -> GateCheck:
    (bad,) = _one(
        conn,
        relations.compose("""
        select count(*) filter (
            where abs(
                baseline_log_odds + coalesce(total, 0) - ln(churn_probability / (1 - churn_probability))
            ) > 1e-6
        )
        from {staged_scores}
        cross join lateral (
            select sum((reason ->> 'contribution')::double precision) as total
            from jsonb_array_elements(reasons) as reason
        ) as parts
        where company_id = %s and churn_probability > 0 and churn_probability < 1
        """),
        [company_id],
    )
    return GateCheck("reasons add up to the published log-odds", bad == 0, f"{bad} rows where they do not")


def _no_sudden_loss(conn: psycopg.Connection[Any], company_id: int, as_of_date: date) -> GateCheck:
    before, now = _one(
        conn,
        relations.compose("""
        select coalesce((select scores from {churn_publications}
                         where company_id = %s and as_of_date < %s order by as_of_date desc limit 1), 0),
               (select count(*) from {staged_scores} where company_id = %s and as_of_date = %s)
        """),
        [company_id, as_of_date, company_id, as_of_date],
    )
    return GateCheck(
        "no sudden loss of customers",
        now >= SMALLEST_SHARE_OF_PREVIOUS * before,
        f"{now} customers after {before}",
    )


def _rests_on_fresh_loads(conn: psycopg.Connection[Any], company_id: int, as_of_date: date) -> GateCheck:
    rows = conn.execute(
        relations.compose("""
        select wanted.entity, max(load.known_at)
        from {companies} as company
        cross join lateral unnest(company.entities) as wanted (entity)
        left join {load_log} as load
            on load.company_id = company.company_id and load.entity = wanted.entity and load.status = 'succeeded'
            and (load.is_backfill or load.known_at < %(date)s::timestamp at time zone 'UTC')
        where company.company_id = %(company)s
        group by wanted.entity
        having coalesce(max(load.known_at), '-infinity')
            < (%(date)s::date - %(days)s::int)::timestamp at time zone 'UTC'
        order by wanted.entity
        """),
        {"company": company_id, "date": as_of_date, "days": OLDEST_LOAD_DAYS},
    ).fetchall()
    stale = ", ".join(
        f"{entity} (last load {at:%Y-%m-%d %H:%M} UTC)" if at else f"{entity} (never)" for entity, at in rows
    )
    detail = (
        f"what was known before {as_of_date} is older than {OLDEST_LOAD_DAYS} days: {stale}"
        if stale
        else f"every table was loaded within {OLDEST_LOAD_DAYS} days before {as_of_date}"
    )
    return GateCheck("features rest on fresh loads", not stale, detail)
