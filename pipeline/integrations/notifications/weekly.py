"""The figures of a company's weekly report, read from the marts and the published scores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pipeline.integrations.notifications.alerts import CustomerAtRisk
from pipeline.integrations.notifications.facts import CHURN, customer_at_risk, exists
from warehouse.companies.definition import Company
from warehouse.relations import CHURNED_CUSTOMERS, CUSTOMER_OVERVIEW

CUSTOMERS_TO_CALL = 10


@dataclass(frozen=True)
class WeeklyFigures:
    """A company's week. `..._before`: at the last publication a week earlier, None where there is none.

    Risks are probabilities; money is per month, in `currency`.
    """

    score_date: date
    before_date: date | None
    currency: str
    customers: int
    high: int
    medium: int
    high_before: int | None
    average_risk: float
    average_risk_before: float | None
    monthly_revenue: Decimal
    monthly_revenue_at_risk: Decimal
    left: int
    left_warned: int
    to_call: tuple[CustomerAtRisk, ...]


def weekly_figures(conn: psycopg.Connection[Any], company: Company) -> WeeklyFigures | None:
    """The figures of the week that ends with the newest scores, or None before the first ones."""
    if not exists(conn, CUSTOMER_OVERVIEW) or not exists(conn, CHURNED_CUSTOMERS):
        return None
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_FIGURES, {"company": company.company_id}).fetchone()
        if row is None or not row["customers"]:
            return None
        to_call = cursor.execute(_TO_CALL, {"company": company.company_id, "limit": CUSTOMERS_TO_CALL}).fetchall()
    return WeeklyFigures(**row, to_call=tuple(customer_at_risk(customer, company) for customer in to_call))


_FIGURES = CHURN.compose("""
with now as (
    select
        max(score_date) as score_date,
        max(currency) as currency,
        count(*) as customers,
        count(*) filter (where risk_level = 'high') as high,
        count(*) filter (where risk_level = 'medium') as medium,
        avg(churn_probability) as average_risk,
        coalesce(sum(monthly_revenue), 0) as monthly_revenue,
        coalesce(sum(monthly_revenue_at_risk), 0) as monthly_revenue_at_risk
    from {customer_overview}
    where company_id = %(company)s and score_date is not null
),
before as (
    select max(as_of_date) as before_date
    from {publications_v1}, now
    where company_id = %(company)s and as_of_date <= now.score_date - 7
),
scores_before as (
    select count(*) filter (where risk_level = 'high') as high_before, avg(churn_probability) as average_risk_before
    from {scores_v1}, before
    where company_id = %(company)s and as_of_date = before.before_date
),
departures as (
    select count(*) as left, count(*) filter (where last_risk_level = 'high') as left_warned
    from {churned_customers}, now
    where company_id = %(company)s
        and churned_at >= (now.score_date - 7)::timestamp at time zone 'UTC'
        and churned_at < (now.score_date + 1)::timestamp at time zone 'UTC'
)
select
    now.score_date, before.before_date, now.currency, now.customers, now.high, now.medium,
    case when before.before_date is not null then scores_before.high_before end as high_before,
    now.average_risk, scores_before.average_risk_before,
    now.monthly_revenue, now.monthly_revenue_at_risk, departures.left, departures.left_warned
from now, before, scores_before, departures
""")

_TO_CALL = CHURN.compose("""
select * from {customer_overview}
where company_id = %(company)s and risk_level in ('high', 'medium')
order by risk_level = 'high' desc, value_at_stake desc, churn_probability desc, customer_id
limit %(limit)s
""")
