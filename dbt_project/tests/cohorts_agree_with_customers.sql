-- Every customer who is no test account is in one cohort once the month of signup is over, and those of all cohorts who
-- are there at the end of a month are those of churn_by_month.
{{ config(meta={'dagster': {'ref': {'name': 'cohort_retention', 'package': 'churn_warehouse'}}}) }}

with

customers as (

    select
        segments.company_id,
        count(*) as customers
    from {{ ref('int_customers__segments') }} as segments
    inner join {{ ref('int_companies__months') }} as months
        on segments.company_id = months.company_id
        and segments.cohort_month = months.month
    group by segments.company_id

),

cohorts as (

    select
        company_id,
        sum(customers) as customers
    from {{ ref('cohort_retention') }}
    where months_since_signup = 0
    group by company_id

),

retained as (

    select
        company_id,
        month,
        sum(customers_retained) as customers
    from {{ ref('cohort_retention') }}
    group by company_id, month

),

at_end as (

    select
        company_id,
        month,
        sum(customers_at_end) as customers
    from {{ ref('churn_by_month') }}
    where {{ is_at_work() }}
    group by company_id, month

)

select
    customers.company_id,
    null::date as month,
    customers.customers as expected,
    cohorts.customers as found
from customers
left join cohorts
    on customers.company_id = cohorts.company_id
where customers.customers is distinct from cohorts.customers

union all

select
    at_end.company_id,
    at_end.month,
    at_end.customers as expected,
    retained.customers as found
from at_end
left join retained
    on at_end.company_id = retained.company_id
    and at_end.month = retained.month
where at_end.customers is distinct from retained.customers
