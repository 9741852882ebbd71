"""A company's history in the raw tables, made in SQL: the same on every run, in versions of which some came late.

Each customer has about ten payments and two tickets a year.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.companies import parse_definition
from warehouse.companies.registry import add_company
from warehouse.connection import Warehouse

NOW = datetime(2026, 1, 1, 6, tzinfo=UTC)
FIRST_LOAD = datetime(2025, 7, 10, 9, tzinfo=UTC)
PAYMENTS_PER_CUSTOMER_AND_YEAR = 10
TICKETS_PER_CUSTOMER_AND_YEAR = 2


@dataclass(frozen=True)
class Size:
    """What is generated: the history begins a year before the first of the monthly dates."""

    customers: int
    dates: int

    @property
    def years(self) -> float:
        return self.dates / 12 + 1

    @property
    def payments(self) -> int:
        return round(self.customers * self.years * PAYMENTS_PER_CUSTOMER_AND_YEAR)

    @property
    def tickets(self) -> int:
        return round(self.customers * self.years * TICKETS_PER_CUSTOMER_AND_YEAR)


# A number in [0, 1) for a record and a purpose, the same on every run.
CHANCE = """
create function pg_temp.chance(number bigint, purpose bigint) returns double precision
language sql immutable parallel safe
return (hashint8extended(number, purpose) & 1073741823)::double precision / 1073741824.0
"""

CUSTOMERS = """
create temporary table customers as
select
    number,
    'cus_' || substr(md5(number::text), 1, 16) as customer_id,
    created_at,
    case
        when pg_temp.chance(number, 2) < 0.2
            then created_at + pg_temp.chance(number, 3) * (%(now)s - created_at)
    end as cancelled_at
from (
    select
        number,
        %(begin)s + (pg_temp.chance(number, 1) ^ 2) * (%(now)s - %(begin)s) as created_at
    from generate_series(1, %(customers)s) as number
) as numbers
"""

# Versions at the moments in `moments`: those before the first load are one version, which came with it.
VERSIONS = """
insert into raw.{entity} (company_id, updated_at, known_at, is_backfill, is_deleted, load_id, {columns})
select
    %(company_id)s,
    updated_at,
    case when updated_at < %(first_load)s then updated_at else updated_at + delay end,
    updated_at < %(first_load)s,
    false,
    1,
    {columns}
from (
    select
        {values},
        moment as updated_at,
        interval '1 hour' + case when pg_temp.chance(number, 90) < 0.02 then interval '25 days' else '0' end as delay,
        lead(moment) over (partition by number order by moment) as next_moment
    from ({records}) as records
    cross join lateral (
        select distinct moment from unnest(array[{moments}]) as moment where moment is not null and moment < %(now)s
    ) as moments
) as versions
where updated_at >= %(first_load)s or coalesce(next_moment >= %(first_load)s, true)
order by updated_at
"""

ENTITIES = {
    "customers": {
        "records": "select * from customers",
        "moments": "created_at, cancelled_at, case when pg_temp.chance(number, 4) < 0.4"
        " then created_at + pg_temp.chance(number, 5) * (%(now)s - created_at) end",
        "columns": {
            "customer_id": "customer_id",
            "name": "'Customer ' || number",
            "status": "'active'",
            "plan": "(array['basic', 'pro', 'team'])[1 + floor(pg_temp.chance(number, 6) * 3)::int]",
            "seats": "1 + (pg_temp.chance(number, 7) * 20)::int",
            "monthly_price": "10 + (pg_temp.chance(number, 8) * 200)::int",
            "country": "(array['DE', 'FR', 'GB', 'US'])[1 + floor(pg_temp.chance(number, 9) * 4)::int]",
            "currency": "case when pg_temp.chance(number, 10) < 0.1 then 'GBP' else 'EUR' end",
            "signup_channel": "(array['ads', 'friend'])[1 + floor(pg_temp.chance(number, 11) * 2)::int]",
            "is_test": "pg_temp.chance(number, 12) < 0.005",
            "created_at": "created_at",
            "cancelled_at": "case when moment >= cancelled_at then cancelled_at end",
            "contract_end_at": "created_at + interval '3 years'",
        },
    },
    "payments": {
        "records": """
            select
                *,
                issued_at + interval '14 days' as due_at,
                case
                    when chance_of_payment < 0.92
                        then issued_at + (pg_temp.chance(number, 25) ^ 3) * interval '40 days'
                end as paid_at,
                case when pg_temp.chance(number, 26) < 0.08 then issued_at + interval '2 days' end as failed_at
            from (
                select
                    series.number,
                    customers.customer_id,
                    customers.number as customer_number,
                    pg_temp.chance(series.number, 22) as chance_of_payment,
                    customers.created_at + pg_temp.chance(series.number, 21)
                    * (coalesce(customers.cancelled_at, %(now)s) - customers.created_at) as issued_at
                from generate_series(1, %(payments)s) as series (number)
                inner join customers
                    on customers.number = 1 + floor(
                        (pg_temp.chance(series.number, 20) ^ 1.2) * %(customers)s
                    )::int
            ) as issued""",
        "moments": "issued_at, paid_at, failed_at",
        "columns": {
            "payment_id": "'pay_' || substr(md5(number::text), 1, 16)",
            "customer_id": "customer_id",
            "kind": "case when pg_temp.chance(number, 27) < 0.04 then 'refund' else 'charge' end",
            "status": "case when moment >= paid_at then 'succeeded' when moment >= failed_at then 'failed'"
            " when pg_temp.chance(number, 28) < 0.01 then 'void' else 'pending' end",
            "amount": "5 + (pg_temp.chance(number, 29) * 20000)::int / 100.0",
            "currency": "case when pg_temp.chance(customer_number, 10) < 0.1 then 'GBP' else 'EUR' end",
            "method": "(array['card', 'transfer'])[1 + floor(pg_temp.chance(number, 30) * 2)::int]",
            "failed_attempts": "case when moment >= failed_at"
            " then 1 + (pg_temp.chance(number, 31) * 3)::int else 0 end",
            "issued_at": "issued_at",
            "due_at": "due_at",
            "paid_at": "case when moment >= paid_at then paid_at end",
            "failed_at": "case when moment >= failed_at then failed_at end",
        },
    },
    "tickets": {
        "records": """
            select
                *,
                case when pg_temp.chance(number, 42) < 0.9
                    then opened_at + pg_temp.chance(number, 43) * interval '3 days' end as first_response_at,
                case when pg_temp.chance(number, 44) < 0.9
                    then opened_at + (0.1 + pg_temp.chance(number, 45)) * interval '20 days' end as resolved_at,
                case when pg_temp.chance(number, 46) < 0.1 then opened_at + interval '30 days' end as reopened_at
            from (
                select
                    series.number,
                    customers.customer_id,
                    customers.created_at + pg_temp.chance(series.number, 41)
                    * (coalesce(customers.cancelled_at, %(now)s) - customers.created_at) as opened_at
                from generate_series(1, %(tickets)s) as series (number)
                inner join customers
                    on customers.number = 1 + floor(
                        (pg_temp.chance(series.number, 40) ^ 1.5) * %(customers)s
                    )::int
            ) as opened""",
        "moments": "opened_at, first_response_at, resolved_at, reopened_at",
        "columns": {
            "ticket_id": "'tic_' || substr(md5(number::text), 1, 16)",
            "customer_id": "customer_id",
            "subject": "'Something about ' || number",
            "category": "(array['billing', 'bug', 'question'])[1 + floor(pg_temp.chance(number, 47) * 3)::int]",
            "priority": "(array['low', 'normal', 'high', 'urgent'])[1 + floor(pg_temp.chance(number, 48) * 4)::int]",
            "status": "case when moment >= resolved_at then 'solved' else 'open' end",
            "channel": "(array['email', 'chat'])[1 + floor(pg_temp.chance(number, 49) * 2)::int]",
            "satisfaction": "case when moment >= resolved_at and pg_temp.chance(number, 50) < 0.5"
            " then 1 + (pg_temp.chance(number, 51) * 4)::int end",
            "opened_at": "opened_at",
            "first_response_at": "case when moment >= first_response_at then first_response_at end",
            "resolved_at": "case when moment >= resolved_at then resolved_at end",
            "reopened_at": "case when moment >= reopened_at then reopened_at end",
        },
    },
}


def generate(warehouse: Warehouse, size: Size) -> int:
    """Fill the raw tables for one new company and log its loads; returns the company's id."""
    definition = {
        "slug": "bench",
        "name": "Bench",
        "connector": "files",
        "churn_kind": "cancellation",
        "horizon_days": 30,
        "currency": "EUR",
        "clock_at": NOW,
    }
    with warehouse.connect() as connection:
        company_id = add_company(connection, parse_definition(definition), "benchmark").company_id
        parameters = {
            "company_id": company_id,
            "customers": size.customers,
            "payments": size.payments,
            "tickets": size.tickets,
            "begin": NOW - timedelta(days=365.25 * size.years),
            "first_load": FIRST_LOAD,
            "now": NOW,
        }
        connection.execute("set work_mem = '256MB'")
        connection.execute("set maintenance_work_mem = '512MB'")
        connection.execute(CHANCE)
        connection.execute(CUSTOMERS, parameters)
        connection.execute("create unique index on customers (number); analyze customers")
        for entity, parts in ENTITIES.items():
            key = f"company_id, {entity.removesuffix('s')}_id, updated_at"
            columns: Any = parts["columns"]
            # The key is built once over all rows, many times faster than row by row.
            connection.execute(f"alter table raw.{entity} drop constraint {entity}_pkey")
            connection.execute(
                VERSIONS.format(
                    entity=entity,
                    columns=", ".join(columns),
                    values=", ".join(f"{value} as {name}" for name, value in columns.items()),
                    records=parts["records"],
                    moments=parts["moments"],
                ),
                parameters,
            )
            connection.execute(f"alter table raw.{entity} add constraint {entity}_pkey primary key ({key})")
            _log_load(connection, company_id, entity)
        connection.commit()
        connection.autocommit = True
        connection.execute("vacuum (analyze) raw.customers, raw.payments, raw.tickets")
    return company_id


def _log_load(connection: Any, company_id: int, entity: str) -> None:
    for is_backfill, at in ((True, FIRST_LOAD), (False, NOW)):
        connection.execute(
            "insert into ops.load_log (company_id, entity, is_backfill, known_at, started_at, finished_at, status)"
            " values (%s, %s, %s, %s, %s, %s, 'succeeded')",
            [company_id, entity, is_backfill, at, at, at],
        )
    connection.execute(
        "insert into ops.sync_cursors (company_id, entity, backfill_completed_at, moved_at) values (%s, %s, %s, %s)",
        [company_id, entity, FIRST_LOAD, FIRST_LOAD],
    )


# What a day brings: of a thousandth of the payments and tickets a newer version, in a load of its own.
DAY = """
insert into raw.{entity}
select new.*
from (
    select distinct on (company_id, {key}) *
    from raw.{entity}
    where hashtextextended({key}, %(load_id)s::bigint) %% 1000 = 0
    order by company_id, {key}, updated_at desc
) as newest
cross join lateral jsonb_populate_record(
    null::raw.{entity},
    to_jsonb(newest) || jsonb_build_object(
        'updated_at', %(at)s::timestamptz - interval '2 hours', 'known_at', %(at)s::timestamptz - interval '1 hour',
        'is_backfill', false, 'load_id', %(load_id)s::bigint
    )
) as new
"""


def new_day(warehouse: Warehouse, company_id: int, day: int) -> None:
    """Load what a day brought, and move the company's clock on to it."""
    at = NOW + timedelta(days=day)
    with warehouse.connect() as connection:
        for entity in ("payments", "tickets"):
            key = f"{entity.removesuffix('s')}_id"
            connection.execute(DAY.format(entity=entity, key=key), {"at": at, "load_id": 1 + day})
        connection.execute("update ops.companies set clock_at = %s where company_id = %s", [at, company_id])
        connection.execute("update ops.load_log set known_at = %s where not is_backfill", [at])
