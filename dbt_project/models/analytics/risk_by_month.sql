{{ config(indexes=[{'columns': ['company_id', 'month', 'risk_level'], 'unique': true}]) }}

with

scores as (

    select * from {{ ref('int_churn_scores__by_month') }}

),

payment_features as (

    select * from {{ ref('payment_features') }}

),

customer_features as (

    select * from {{ ref('customer_features') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

final as (

    select
        scores.company_id,
        companies.company_name,
        scores.risk_level,
        clocks.currency,
        count(*)::integer as customers,
        avg(scores.churn_probability::numeric)::double precision as mean_churn_probability,
        sum(scores.churn_probability::numeric)::double precision as expected_churners,
        coalesce(sum(payment_features.revenue_90d::numeric), 0)::numeric(38, 2) as revenue_90d,
        coalesce(
            sum((scores.churn_probability * greatest(payment_features.revenue_90d, 0))::numeric), 0
        )::numeric(38, 2) as value_at_stake,
        coalesce(sum(({{ monthly_revenue(
            'customer_features.monthly_price_in_company_currency', 'payment_features.revenue_90d'
        ) }})::numeric), 0)::numeric(38, 2) as monthly_revenue,
        coalesce(sum((scores.churn_probability * {{ monthly_revenue(
            'customer_features.monthly_price_in_company_currency', 'payment_features.revenue_90d'
        ) }})::numeric), 0)::numeric(38, 2) as monthly_revenue_at_risk,
        scores.month,
        scores.as_of_date
    from scores
    inner join companies
        on scores.company_id = companies.company_id
    inner join clocks
        on scores.company_id = clocks.company_id
    left join payment_features
        on scores.company_id = payment_features.company_id
        and scores.customer_id = payment_features.customer_id
        and scores.as_of_date = payment_features.as_of_date
    left join customer_features
        on scores.company_id = customer_features.company_id
        and scores.customer_id = customer_features.customer_id
        and scores.as_of_date = customer_features.as_of_date
    group by
        scores.company_id,
        companies.company_name,
        scores.risk_level,
        clocks.currency,
        scores.month,
        scores.as_of_date

)

select * from final
