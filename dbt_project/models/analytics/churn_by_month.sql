{{ config(indexes=[{'columns': ['company_id', 'month', 'segment'], 'unique': true}]) }}

with

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

months as (

    select * from {{ ref('int_companies__months') }}

),

spells as (

    select * from {{ ref('int_customers__spells') }}

),

segments as (

    select * from {{ ref('int_customers__segments') }}

),

churned_customers as (

    select * from {{ ref('churned_customers') }}

),

customers_per_month as (

    select
        months.company_id,
        months.month,
        segments.segment,
        count(*) filter (where spells.begins_month < months.month) as customers_at_start,
        count(*) filter (where spells.begins_month = months.month) as customers_joined,
        count(*) filter (where spells.begins_month < months.month and spells.ends_month = months.month)
            as customers_churned,
        count(*) filter (where spells.begins_month = months.month and spells.ends_month = months.month)
            as customers_joined_and_churned
    from spells
    inner join segments
        on spells.company_id = segments.company_id
        and spells.customer_id = segments.customer_id
    inner join months
        on spells.company_id = months.company_id
        and spells.begins_month <= months.month
        and coalesce(spells.ends_month >= months.month, true)
    group by months.company_id, months.month, segments.segment

),

revenue_per_month as (

    select
        company_id,
        month,
        segment,
        sum(revenue_90d) as revenue_90d
    from churned_customers
    group by company_id, month, segment

),

final as (

    select
        customers_per_month.company_id,
        customers_per_month.segment,
        companies.company_name,
        companies.currency,
        customers_per_month.customers_at_start::integer as customers_at_start,
        customers_per_month.customers_joined::integer as customers_joined,
        customers_per_month.customers_churned::integer as customers_churned,
        customers_per_month.customers_joined_and_churned::integer as customers_joined_and_churned,
        (
            customers_per_month.customers_at_start + customers_per_month.customers_joined
            - customers_per_month.customers_churned - customers_per_month.customers_joined_and_churned
        )::integer as customers_at_end,
        customers_per_month.customers_churned::double precision
        / nullif(customers_per_month.customers_at_start, 0) as churn_rate,
        coalesce(revenue_per_month.revenue_90d, 0)::numeric(38, 2) as churned_revenue_90d,
        customers_per_month.month
    from customers_per_month
    inner join companies
        on customers_per_month.company_id = companies.company_id
    left join revenue_per_month
        on customers_per_month.company_id = revenue_per_month.company_id
        and customers_per_month.month = revenue_per_month.month
        and customers_per_month.segment is not distinct from revenue_per_month.segment

)

select * from final
