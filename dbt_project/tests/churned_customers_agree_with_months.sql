-- Those who left are the same in churned_customers and in the months of churn_by_month.
{{ config(meta={'dagster': {'ref': {'name': 'churn_by_month', 'package': 'churn_warehouse'}}}) }}

with

churned as (

    select
        churned_customers.company_id,
        count(*) as customers
    from {{ ref('churned_customers') }} as churned_customers
    inner join {{ ref('int_companies__months') }} as months
        on churned_customers.company_id = months.company_id
        and churned_customers.month = months.month
    group by churned_customers.company_id

),

by_month as (

    select
        company_id,
        sum(customers_churned + customers_joined_and_churned) as customers
    from {{ ref('churn_by_month') }}
    where {{ is_at_work() }}
    group by company_id

)

select
    by_month.company_id,
    by_month.customers as customers_by_month,
    churned.customers as customers_one_by_one
from by_month
left join churned
    on by_month.company_id = churned.company_id
where by_month.customers <> coalesce(churned.customers, 0)
