-- Customers who moved to a level, or stayed in it, are those who stand in it.
{{ config(meta={'dagster': {'ref': {'name': 'risk_movements_by_month', 'package': 'churn_warehouse'}}}) }}

with

movements as (

    select
        company_id,
        month,
        to_level as risk_level,
        sum(customers) as customers
    from {{ ref('risk_movements_by_month') }}
    where to_level <> 'left' and {{ is_at_work() }}
    group by company_id, month, to_level

)

select
    movements.company_id,
    movements.month,
    movements.risk_level,
    movements.customers as customers_moved,
    risk_by_month.customers
from movements
left join {{ ref('risk_by_month') }} as risk_by_month
    on movements.company_id = risk_by_month.company_id
    and movements.month = risk_by_month.month
    and movements.risk_level = risk_by_month.risk_level
where movements.customers is distinct from risk_by_month.customers
