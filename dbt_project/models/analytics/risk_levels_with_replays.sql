{{ config(indexes=[{'columns': ['company_id', 'month', 'risk_level'], 'unique': true}]) }}

with

published as (

    select * from {{ ref('int_churn_scores__by_month') }}

),

replayed as (

    select * from {{ ref('int_churn_scores__replayed') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

unioned as (

    select
        company_id,
        risk_level,
        month,
        false as is_replayed
    from published

    union all

    select
        company_id,
        risk_level,
        month,
        true as is_replayed
    from replayed

),

final as (

    select
        unioned.company_id,
        companies.company_name,
        unioned.risk_level,
        count(*)::integer as customers,
        unioned.is_replayed,
        unioned.month
    from unioned
    inner join companies
        on unioned.company_id = companies.company_id
    group by
        unioned.company_id,
        companies.company_name,
        unioned.risk_level,
        unioned.is_replayed,
        unioned.month

)

select * from final
