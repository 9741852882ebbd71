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

from foundation.counting import counted
from pipeline.integrations.notifications.alerts import Alert, CustomerAtRisk
from pipeline.integrations.plain_text import plain
from pipeline.prediction.tasks import CONTRACTS, task_named
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.notifications import AlertName
from warehouse.landing.freshness import late_loads
from warehouse.publication.holds import list_holds
from warehouse.publication.lateness import late_publications
from warehouse.relations import CUSTOMER_OVERVIEW, Relation

Connection = psycopg.Connection[Any]

CHURN = task_named("churn").relations.contract
"""What these messages are about."""

LOOKED_BACK = timedelta(days=7)
"""What happened earlier than this is history, not news: a recipient who is added today does not hear of it."""


def alerts_of(conn: Connection, company: Company, clock: Clock) -> list[Alert]:
    """Everything that a company's people may be told now, the kinds in their order, the dearest customers first."""
    return [
        *_high_risk(conn, company),
        *_late_publication(conn, company, clock),
        *_held_publication(conn, company, clock),
        *_late_source(conn, company, clock),
        *_shrinking_source(conn, company),
        *_failed_run(conn, company, clock),
        *_model(conn, company, clock),
    ]


def alerts_of_the_warehouse(conn: Connection, clock: Clock) -> list[Alert]:
    """Runs that failed as a whole, for no company in particular."""
    return [
        Alert("failed_run", f"failed_run:{row['first_failed']}", plain(f"{row['stage']}: {row['error']}"), None, None)
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
        name=plain(named or "") or plain(customer_id) or "?",
        probability=row["churn_probability"],
        value_at_stake=row["value_at_stake"] or Decimal(0),
        currency=row["currency"],
        reasons=tuple(plain(reason) for reason in reasons if reason),
        plan=plain(row["plan_name"] or "") or None,
        link=link.replace("{customer_id}", quote(customer_id, safe="")) if link else None,
    )


def exists(conn: Connection, relation: Relation) -> bool:
    """Whether dbt has made this table yet."""
    row = conn.execute("select to_regclass(%s) is not null", (str(relation),)).fetchone()
    return bool(row and row[0])


_HIGH_RISK: LiteralString = """
with published as (
    select as_of_date from {publications_v1}
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
                left join {scores_v1} as score
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
        sentence = f"{customer.name}: {customer.probability:.0%} likely to leave"
        key = f"high_risk:{customer.customer_id}:{row['high_since']}"
        yield Alert("high_risk", key, sentence, company.company_id, plain(company.name), customer)


def _late_publication(conn: Connection, company: Company, clock: Clock) -> Iterator[Alert]:
    """Once for the whole silence, whatever it comes from."""
    for late in late_publications(conn, CONTRACTS, [company], clock):
        sentence = f"The newest scores of {late.task} were published on {late.published_at:%Y-%m-%d at %H:%M} UTC."
        yield _alert("late_publication", f"{late.task}:{late.published_at:%Y-%m-%dT%H:%M}", sentence, company)


def _held_publication(conn: Connection, company: Company, clock: Clock) -> Iterator[Alert]:
    """Of each task the newest date that is held and that nobody accepted."""
    since = clock.for_company(company) - LOOKED_BACK
    for task in company.tasks:
        for held in list_holds(conn, company.company_id, task, only_open=True)[:1]:
            if held.held_at < since or held.accepted_by:
                continue
            flips = f"The risk level of {counted(held.flips, 'customer')} would change."
            key = f"{held.as_of_date}" if task == CHURN.task else f"{task}:{held.as_of_date}"
            yield _alert("held_publication", key, f"{held.sentence(company.slug, task)} {flips}", company)


def _late_source(conn: Connection, company: Company, clock: Clock) -> Iterator[Alert]:
    """Once for the whole outage. What was never loaded is a company that is just being added, or a failed run."""
    for late in late_loads(conn, clock):
        if late.company == company.slug and late.last_known_at:
            sentence = f"{late.entity.capitalize()} were last loaded on {late.last_known_at:%Y-%m-%d at %H:%M} UTC."
            yield _alert("late_source", f"{late.entity}:{late.last_known_at:%Y-%m-%dT%H:%M}", sentence, company)


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
        sentence = (
            f"The source has {row['now_live']:,} {row['entity']}, and had {row['was_live']:,} in the week before."
        )
        yield _alert("shrinking_source", f"{row['entity']}:{row['was_load']}", sentence, company)


# A stage that failed and has not succeeded since, once for the whole spell; the message is the newest failure's.
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
        sentence = f"{row['stage']} failed: {row['error']}"
        yield _alert("failed_run", f"{row['first_failed']}", sentence, company)


_RUNG_PHRASES = {"own_model": "a model of its own", "pooled_model": "the pooled model", "rule": "a rule"}
_RUNG_RANK = {"rule": 0, "pooled_model": 1, "own_model": 2}
_CAUSE_PHRASES = {"drift": "its features have drifted", "grade": "its scores did not keep what they promised"}
_EVENT_PHRASES = {
    "promoted": "Promoted",
    "replaced": "Replaced, as the old one no longer fits",
    "rolled_back": "Rolled back by a person",
    "chosen": "Chosen by a person",
}


def _model(conn: Connection, company: Company, clock: Clock) -> Iterator[Alert]:
    """Who scores from now on, where that changed, and what the newest training says of the old one."""
    values = {"company": company.company_id, "since": clock.now() - LOOKED_BACK, "events": list(_EVENT_PHRASES)}
    for row in _rows(
        conn,
        """
        select promotion_id, event, model_name, from_version, to_version, why from {promotions}
        where company_id = %(company)s and decided_at > %(since)s and event = any (%(events)s)
        order by promotion_id desc limit 1
        """,
        values,
    ):
        instead = f" instead of v{row['from_version']}" if row["from_version"] else ""
        sentence = (
            f"{_EVENT_PHRASES[row['event']]}: {row['model_name']} v{row['to_version']} scores{instead}. {row['why']}"
        )
        yield _alert("model", f"promotion:{row['promotion_id']}", sentence, company)
    for row in _rows(
        conn,
        """
        select * from (
            select training_run_id, status, cause, rung, error, created_at,
                lag(rung) over (order by training_run_id) as rung_before
            from {training_runs} where company_id = %(company)s
        ) as trainings
        where created_at > %(since)s
        order by training_run_id desc limit 1
        """,
        values,
    ):
        degraded = _degraded(row)
        if degraded:
            yield _alert("model", f"training:{row['training_run_id']}", degraded, company)


def _degraded(row: Mapping[str, Any]) -> str | None:
    before, rung = row["rung_before"], row["rung"]
    if row["status"] == "failed":
        return f"Training failed, the old model goes on: {row['error']}"
    if before is not None and _RUNG_RANK[rung] < _RUNG_RANK[before]:
        return f"Degraded: scores now rest on {_RUNG_PHRASES[rung]}, and rested on {_RUNG_PHRASES[before]}."
    if row["cause"] in _CAUSE_PHRASES:
        return f"Degraded: the model was trained again, for {_CAUSE_PHRASES[row['cause']]}."
    return None


def _alert(kind: AlertName, key: str, sentence: str, company: Company) -> Alert:
    return Alert(kind, f"{kind}:{key}", plain(sentence), company.company_id, plain(company.name))


def _rows(conn: Connection, query: LiteralString, values: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(CHURN.compose(query), values).fetchall()


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
