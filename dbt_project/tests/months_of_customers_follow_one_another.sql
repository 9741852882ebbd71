-- Whoever is there at the end of a month is there at the start of the next.
{{ config(meta={'dagster': {'ref': {'name': 'churn_by_month', 'package': 'churn_warehouse'}}}) }}

with

months as (

    select
        company_id,
        month,
        sum(customers_at_start) as customers_at_start,
        sum(customers_at_end) as customers_at_end
    from {{ ref('churn_by_month') }}
    where {{ is_at_work() }}
    group by company_id, month

)

select
    later.company_id,
    later.month,
    later.customers_at_start,
    earlier.customers_at_end
from months as later
inner join months as earlier
    on later.company_id = earlier.company_id
    and later.month = earlier.month + interval '1 month'
where later.customers_at_start <> earlier.customers_at_end
