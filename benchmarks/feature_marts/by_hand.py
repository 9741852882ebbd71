"""The counts and sums of the feature marts as one statement by hand, and whether the marts hold the same."""

from __future__ import annotations

import time

from benchmarks.feature_marts.raw_history import NOW, Size
from warehouse.connection import Warehouse

# The same counts and sums of payments and tickets as one statement on the raw tables: versions to intervals, one range
# join to the dates, one hash or sort. Written for this data: one company, and nothing that the marts have besides.
INTERVALS = """
        case
            when is_backfill and not coalesce(lag(is_backfill) over w, false) then '-infinity' else known_at
        end as known_from,
        coalesce(
            min(known_at) over (w rows between 1 following and unbounded following), 'infinity'
        ) as known_to"""
BY_HAND = f"""create temporary table by_hand as
with dates as materialized (
    select day::date as as_of_date, day at time zone 'UTC' as as_of_at
    from generate_series(%(first)s::timestamp, %(last)s::timestamp, interval '1 month') as day
),
rates as materialized (
    select currency, rate_to_eur, valid_from,
        coalesce(lead(valid_from) over (partition by currency order by valid_from), 'infinity') as valid_before
    from staging.exchange_rates
),
payment_versions as (
    select *,{INTERVALS}
    from raw.payments
    window w as (partition by company_id, payment_id order by updated_at)
),
payments as (
    select v.customer_id, kind = 'refund' as is_refund,
        (case when v.currency = 'EUR' then amount else round(amount * rate_to_eur, 4) end)::double precision as amount,
        (issued_at at time zone 'UTC')::date as issued, (paid_at at time zone 'UTC')::date as paid,
        (failed_at at time zone 'UTC')::date as failed,
        case when status = 'void' then (updated_at at time zone 'UTC')::date end as voided, known_from, known_to
    from payment_versions as v
    left join rates on v.currency <> 'EUR' and rates.currency = v.currency
        and (issued_at at time zone 'UTC')::date >= valid_from and (issued_at at time zone 'UTC')::date < valid_before
    where not is_deleted and known_from < known_to
),
payment_figures as (
    select customer_id, as_of_date,
        count(*) filter (where not is_refund and paid >= as_of_date - 30) as payments_30d,
        count(*) filter (where not is_refund and paid >= as_of_date - 90) as payments_90d,
        count(*) filter (where not is_refund and paid >= as_of_date - 180) as payments_180d,
        count(*) filter (where not is_refund and paid >= as_of_date - 365) as payments_365d,
        sum(case when is_refund then -amount else amount end) filter (where paid >= as_of_date - 30) as revenue_30d,
        sum(case when is_refund then -amount else amount end) filter (where paid >= as_of_date - 90) as revenue_90d,
        sum(case when is_refund then -amount else amount end) filter (where paid >= as_of_date - 180) as revenue_180d,
        sum(case when is_refund then -amount else amount end) filter (where paid >= as_of_date - 365) as revenue_365d,
        count(*) filter (where failed >= as_of_date - 30) as failed_payments_30d,
        count(*) filter (where failed >= as_of_date - 90) as failed_payments_90d,
        count(*) filter (where is_refund and paid >= as_of_date - 365) as refunds_365d
    from (
        select customer_id, as_of_date, is_refund, amount,
            case when paid < as_of_date then paid end as paid, case when failed < as_of_date then failed end as failed
        from payments
        inner join dates on issued < as_of_date and greatest(issued, paid, failed) >= as_of_date - 365
            and known_from < as_of_at and known_to >= as_of_at and (voided is null or voided >= as_of_date)
    ) as seen
    group by customer_id, as_of_date
),
ticket_versions as (
    select *,{INTERVALS}
    from raw.tickets
    window w as (partition by company_id, ticket_id order by updated_at)
),
tickets as (
    select customer_id, (opened_at at time zone 'UTC')::date as opened,
        (resolved_at at time zone 'UTC')::date as resolved, (reopened_at at time zone 'UTC')::date as reopened,
        known_from, known_to
    from ticket_versions
    where not is_deleted and known_from < known_to
),
ticket_figures as (
    select customer_id, as_of_date,
        count(*) filter (where opened >= as_of_date - 7) as tickets_opened_7d,
        count(*) filter (where opened >= as_of_date - 30) as tickets_opened_30d,
        count(*) filter (where opened >= as_of_date - 90) as tickets_opened_90d,
        count(*) filter (where opened >= as_of_date - 180) as tickets_opened_180d,
        count(*) filter (where resolved >= as_of_date - 90 and resolved < as_of_date) as tickets_resolved_90d,
        count(*) filter (where reopened >= as_of_date - 180 and reopened < as_of_date) as tickets_reopened_180d
    from tickets
    inner join dates on opened < as_of_date and greatest(opened, resolved, reopened) >= as_of_date - 365
        and known_from < as_of_at and known_to >= as_of_at
    group by customer_id, as_of_date
)
select customer_id, as_of_date,
    payments_30d, payments_90d, payments_180d, payments_365d, revenue_30d, revenue_90d, revenue_180d, revenue_365d,
    failed_payments_30d, failed_payments_90d, refunds_365d,
    tickets_opened_7d, tickets_opened_30d, tickets_opened_90d, tickets_opened_180d, tickets_resolved_90d,
    tickets_reopened_180d
from payment_figures full join ticket_figures using (customer_id, as_of_date)
"""

COUNTS = {
    "payment_features": [
        "payments_30d",
        "payments_90d",
        "payments_180d",
        "payments_365d",
        "failed_payments_30d",
        "failed_payments_90d",
        "refunds_365d",
    ],
    "ticket_features": [
        "tickets_opened_7d",
        "tickets_opened_30d",
        "tickets_opened_90d",
        "tickets_opened_180d",
        "tickets_resolved_90d",
        "tickets_reopened_180d",
    ],
}
SUMS = {"payment_features": ["revenue_30d", "revenue_90d", "revenue_180d", "revenue_365d"]}


def by_hand(warehouse: Warehouse, size: Size) -> tuple[float, int]:
    """Seconds of the statement written by hand, and the feature rows whose counts and sums are not the same.

    To be asked before another date is built. Raises RuntimeError where the marts have not the same dates.
    """
    last = NOW.date()
    months = last.year * 12 + last.month - 1 - (size.dates - 1)
    first = last.replace(year=months // 12, month=months % 12 + 1)
    with warehouse.connect() as connection:
        connection.execute("set work_mem = '256MB'")
        started = time.perf_counter()
        connection.execute(BY_HAND, {"first": first, "last": last})
        seconds = time.perf_counter() - started
        differing = 0
        for relation, names in COUNTS.items():
            dates = f"select min(as_of_date), max(as_of_date), count(distinct as_of_date) from features.{relation}"
            built = connection.execute(dates).fetchone()
            if built != (first, last, size.dates):
                raise RuntimeError(f"{relation} has {built}, and not {size.dates} dates from {first} to {last}.")
            differs = [f"mart.{name} <> coalesce(by_hand.{name}, 0)" for name in names]
            sums = [f"abs(mart.{name} - coalesce(by_hand.{name}, 0)) > 0.005" for name in SUMS.get(relation, [])]
            (count,) = connection.execute(
                f"select count(*) from features.{relation} as mart left join by_hand using (customer_id, as_of_date)"
                f" where ({' or '.join(differs + sums)}) is not false"
            ).fetchone() or (0,)
            differing += count
        connection.rollback()
    return seconds, differing
