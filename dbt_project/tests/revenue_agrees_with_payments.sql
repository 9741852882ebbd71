-- The months of revenue_statistics_by_month add up to the payments they are made of.
{{ config(meta={'dagster': {'ref': {'name': 'revenue_statistics_by_month', 'package': 'churn_warehouse'}}}) }}
with

payments as (

    select
        company_id,
        sum(revenue) as net_revenue
    from {{ ref('int_payments__current') }}
    where
        voided_at is null
        and paid_at is not null
        and (company_id, customer_id) not in (
            select
                company_id,
                customer_id
            from {{ ref('stg_crm__customers') }}
            where is_test
        )
    group by company_id

),

months as (

    select
        company_id,
        sum(net_revenue) as net_revenue,
        count(*) as months
    from {{ ref('revenue_statistics_by_month') }}
    group by company_id

)

select
    payments.company_id,
    payments.net_revenue as revenue_of_payments,
    months.net_revenue as revenue_of_months
from payments
left join months
    on payments.company_id = months.company_id
-- Each month is rounded to the cent, twice.
where abs(payments.net_revenue - coalesce(months.net_revenue, 0)) > 0.01 * coalesce(months.months, 0)
