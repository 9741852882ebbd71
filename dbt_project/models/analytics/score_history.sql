{{ config(indexes=[{'columns': ['company_id', 'customer_id', 'month'], 'unique': true}]) }}

with

scores as (

    select * from {{ ref('int_churn_scores__by_month') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

final as (

    select
        scores.company_id,
        scores.customer_id,
        scores.month,
        companies.company_name,
        scores.risk_level,
        scores.evidence_level,
        scores.model_version,
        scores.churn_probability,
        scores.percentile as risk_percentile,
        scores.as_of_date
    from scores
    inner join companies
        on scores.company_id = companies.company_id

)

select * from final
