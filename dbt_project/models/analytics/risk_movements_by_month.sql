{{ config(indexes=[{'columns': ['company_id', 'month', 'from_level', 'to_level'], 'unique': true}]) }}

with

scores as (

    select * from {{ ref('int_churn_scores__by_month') }}

),

months as (

    select distinct
        company_id,
        month,
        month_number
    from scores

),

payment_features as (

    select * from {{ ref('payment_features') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

values_at_scores as (

    select
        scores.company_id,
        scores.customer_id,
        scores.month_number,
        scores.risk_level,
        greatest(coalesce(payment_features.revenue_90d, 0), 0) as revenue_90d
    from scores
    left join payment_features
        on scores.company_id = payment_features.company_id
        and scores.customer_id = payment_features.customer_id
        and scores.as_of_date = payment_features.as_of_date

),

-- Before and after under one key: each customer stands once in the month, and once as the past of the month after.
befores_and_afters as (

    select
        company_id,
        customer_id,
        month_number,
        null::text as from_level,
        risk_level as to_level,
        revenue_90d
    from values_at_scores

    union all

    select
        company_id,
        customer_id,
        month_number + 1 as month_number,
        risk_level as from_level,
        null::text as to_level,
        revenue_90d
    from values_at_scores

),

movements as (

    select
        company_id,
        customer_id,
        month_number,
        coalesce(max(from_level), 'new') as from_level,
        coalesce(max(to_level), 'left') as to_level,
        coalesce(max(revenue_90d) filter (where to_level is not null), max(revenue_90d)) as revenue_90d
    from befores_and_afters
    group by company_id, customer_id, month_number

),

final as (

    select
        movements.company_id,
        months.month,
        companies.company_name,
        movements.from_level,
        movements.to_level,
        companies.currency,
        count(*)::integer as customers,
        sum(movements.revenue_90d::numeric)::numeric(38, 2) as revenue_90d
    from movements
    inner join months
        on movements.company_id = months.company_id
        and movements.month_number = months.month_number
    inner join companies
        on movements.company_id = companies.company_id
    where months.month_number > 1
    group by
        movements.company_id,
        months.month,
        companies.company_name,
        movements.from_level,
        movements.to_level,
        companies.currency

)

select * from final
