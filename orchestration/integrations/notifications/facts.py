"""What happened that somebody should know, read from the warehouse. It reads; it never writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString
from urllib.parse import quote
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import dict_row

from orchestration.integrations.notifications.alerts import Alert, CustomerAtRisk
from warehouse import relations
from warehouse.clock import Clock
from warehouse.companies import AlertName, Company
from warehouse.load_freshness import late_loads
from warehouse.relations import CUSTOMER_OVERVIEW, Relation

Connection = psycopg.Connection[Any]

LOOKED_BACK = timedelta(days=7)
"""What happened earlier than this is history, not news: a recipient who is added today does not hear of it."""


def alerts_of(conn: Connection, company: Company, clock: Clock) -> list[Alert]:
    """Everything that a company's people may be told now, the kinds in their order, the dearest customers first."""
    return [
        *_high_risk(conn, company),
        *_held_publication(conn, company, clock),
        *_late_source(conn, company, clock),
        *_shrinking_source(conn, company),
        *_failed_run(conn, company, clock),
        *_model(conn, company, clock),
    ]


def alerts_of_the_warehouse(conn: Connection, clock: Clock) -> list[Alert]:
    """Runs that failed as a whole, for no company in particular."""
    return [
        Alert("failed_run", f"failed_run:{row['first_failed']}", f"{row['stage']}: {row['error']}", None, None)
        for row in _rows(conn, _FAILED, {"company": None, "since": clock.now() - LOOKED_BACK})
    ]


def customer_at_risk(row: Mapping[str, Any], company: Company) -> CustomerAtRisk:
    """A row of the customers' overview as a customer to call. A name that is hashed or missing is the id."""
    customer_id = row["customer_id"]
    named = row["customer_name"] if company.personal_data == "keep" else None
    link = company.notifications.customer_link
    reasons = (row["first_reason"], row["second_reason"], row["third_reason"])
    return CustomerAtRisk(
        customer_id=customer_id,
        name=named or customer_id,
        probability=row["churn_probability"],
        value_at_stake=row["value_at_stake"] or Decimal(0),
        currency=row["currency"],
        reasons=tuple(reason for reason in reasons if reason),
        plan=row["plan_name"],
        link=link.replace("{customer_id}", quote(customer_id, safe="")) if link else None,
    )


def exists(conn: Connection, relation: Relation) -> bool:
    """Whether dbt has made this table yet."""
    row = conn.execute("select to_regclass(%s) is not null", (str(relation),)).fetchone()
    return bool(row and row[0])


_HIGH_RISK: LiteralString = """
with published as (
    select as_of_date from {churn_publications_v1}
    where company_id = %(company)s
),
high as (
    select customer_id, value_at_stake from {customer_overview}
    where company_id = %(company)s and risk_level = 'high' and value_at_stake >= %(smallest)s
),
-- The first publication since which the customer was never below high risk, nor without a score.
since as (
    select high.customer_id, min(published.as_of_date) as high_since
    from high
    inner join published
        on published.as_of_date > coalesce(
            (
                select max(other.as_of_date)
                from published as other
                left join {churn_scores_v1} as score
                    on score.company_id = %(company)s and score.customer_id = high.customer_id
                    and score.as_of_date = other.as_of_date
                where score.risk_level is distinct from 'high'
            ),
            '-infinity'
        )
    group by high.customer_id
)
select overview.*, since.high_since
from {customer_overview} as overview
inner join since using (customer_id)
where overview.company_id = %(company)s
order by overview.value_at_stake desc, overview.churn_probability desc, overview.customer_id
"""


def _high_risk(conn: Connection, company: Company) -> Iterator[Alert]:
    if not exists(conn, CUSTOMER_OVERVIEW):
        return
    smallest = company.notifications.smallest_value
    for row in _rows(conn, _HIGH_RISK, {"company": company.company_id, "smallest": smallest}):
        customer = customer_at_risk(row, company)
        words = f"{customer.name}: {customer.probability:.0%} likely to leave"
        key = f"high_risk:{customer.customer_id}:{row['high_since']}"
        yield Alert("high_risk", key, words, company.company_id, company.name, customer)


def _held_publication(conn: Connection, company: Company, clock: Clock) -> Iterator[Alert]:
    rows = _rows(
        conn,
        """
        select as_of_date, is_passed, checks from {publication_gates}
        where company_id = %(company)s
            and as_of_date > coalesce(
                (select max(as_of_date) from {churn_publications_v1} where company_id = %(company)s), '-infinity'
            )
            and checked_at > %(since)s
        order by publication_gate_id desc limit 1
        """,
        {"company": company.company_id, "since": clock.for_company(company) - LOOKED_BACK},
    )
    for row in rows:
        if not row["is_passed"]:
            why = "; ".join(f"{check['name']}: {check['detail']}" for check in row["checks"] if not check["passed"])
            words = f"The scores for {row['as_of_date']} are held back, the older ones stand. {why}"
            yield _alert("held_publication", f"{row['as_of_date']}", words, company)


def _late_source(conn: Connection, company: Company, clock: Clock) -> Iterator[Alert]:
    """Once for the whole outage. What was never loaded is a company that is just being added, or a failed run."""
    for late in late_loads(conn, clock):
        if late.company == company.slug and late.last_known_at:
            words = f"{late.entity.capitalize()} were last loaded on {late.last_known_at:%Y-%m-%d at %H:%M} UTC."
            yield _alert("late_source", f"{late.entity}:{late.last_known_at:%Y-%m-%dT%H:%M}", words, company)


def _shrinking_source(conn: Connection, company: Company) -> Iterator[Alert]:
    """The newest load beside the fullest of the week before it."""
    rows = _rows(
        conn,
        """
        select distinct on (newest.entity) newest.entity, newest.source_live as now_live,
            before.source_live as was_live, before.load_id as was_load
        from {load_log} as newest
        inner join {load_log} as before
            on before.company_id = newest.company_id and before.entity = newest.entity
            and before.load_id < newest.load_id and before.status = 'succeeded'
            and before.known_at > newest.known_at - %(back)s::interval
        where newest.company_id = %(company)s
            and newest.load_id in (
                select max(load_id) from {load_log}
                where company_id = %(company)s and status = 'succeeded' group by entity
            )
            and newest.source_live <= before.source_live * (1 - %(share)s::double precision)
        order by newest.entity, before.source_live desc, before.load_id
        """,
        {"company": company.company_id, "back": LOOKED_BACK, "share": company.notifications.shrink_share},
    )
    for row in rows:
        words = f"The source has {row['now_live']:,} {row['entity']}, and had {row['was_live']:,} in the week before."
        yield _alert("shrinking_source", f"{row['entity']}:{row['was_load']}", words, company)


# A stage that failed and has not succeeded since, once for the whole spell; the words are of the newest failure.
_FAILED: LiteralString = """
select stage, min(run_log_id) as first_failed, (array_agg(error order by run_log_id desc))[1] as error
from {run_log} as run
where company_id is not distinct from %(company)s
    and status = 'failed'
    and run_log_id > coalesce(
        (
            select max(run_log_id) from {run_log} as good
            where good.company_id is not distinct from %(company)s and good.stage = run.stage
                and good.status = 'succeeded'
        ),
        0
    )
group by stage
having max(started_at) > %(since)s
order by min(run_log_id)
"""


def _failed_run(conn: Connection, company: Company, clock: Clock) -> Iterator[Alert]:
    for row in _rows(conn, _FAILED, {"company": company.company_id, "since": clock.now() - LOOKED_BACK}):
        words = f"{row['stage']} failed: {row['error']}"
        yield _alert("failed_run", f"{row['first_failed']}", words, company)


_RUNG_WORDS = {"own_model": "a model of its own", "pooled_model": "the pooled model", "rule": "a rule"}
_RUNG_RANK = {"rule": 0, "pooled_model": 1, "own_model": 2}


def _model(conn: Connection, company: Company, clock: Clock) -> Iterator[Alert]:
    """The newest training, where it changed who scores; the very first is no news."""
    rows = _rows(
        conn,
        """
        select training_run_id, status, rung, model_name, model_version, outcomes, error, created_at,
            lag(rung) over (order by training_run_id) as rung_before
        from {training_runs} where company_id = %(company)s
        order by training_run_id desc limit 1
        """,
        {"company": company.company_id},
    )
    for row in rows:
        if row["created_at"] < clock.now() - LOOKED_BACK:
            continue
        words = _model_words(row)
        if words:
            yield _alert("model", f"{row['training_run_id']}", words, company)


def _model_words(row: Mapping[str, Any]) -> str | None:
    before, rung = row["rung_before"], row["rung"]
    if row["status"] == "failed":
        return f"Training failed, the old model goes on: {row['error']}"
    if before is not None and _RUNG_RANK[rung] < _RUNG_RANK[before]:
        return f"Degraded: scores now rest on {_RUNG_WORDS[rung]}, and rested on {_RUNG_WORDS[before]}."
    if row["status"] == "promoted" and before is not None:
        version = f"{row['model_name']} v{row['model_version']}"
        return f"Promoted: {version} scores from now on, trained on {row['outcomes']:,} outcomes."
    return None


def _alert(kind: AlertName, key: str, words: str, company: Company) -> Alert:
    return Alert(kind, f"{kind}:{key}", words, company.company_id, company.name)


def _rows(conn: Connection, query: LiteralString, values: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(relations.compose(query), values).fetchall()


def quiet_until(company: Company, now: datetime) -> datetime | None:
    """When the company's quiet hours end, if `now` lies in them. Aware, in its time zone."""
    hours = company.notifications.quiet_hours
    if hours is None:
        return None
    local = now.astimezone(ZoneInfo(company.time_zone))
    begins, ends = hours
    clock = f"{local:%H:%M}"
    is_quiet = begins <= clock < ends if begins < ends else clock >= begins or clock < ends
    if not is_quiet:
        return None
    end = local.replace(hour=int(ends[:2]), minute=int(ends[3:]), second=0, microsecond=0)
    return end if end > local else end + timedelta(days=1)
