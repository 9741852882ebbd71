-- Of months in which nothing was published: what was said stands before what would have been said.
with

record as (

    select * from {{ ref('stg_ml__track_record') }}
    where task = 'churn'

),

publications as (

    select * from {{ ref('stg_predictions__churn_publications') }}

),

published_months as (

    select distinct
        company_id,
        date_trunc('month', as_of_date)::date as month
    from publications

),

final as (

    select
        record.company_id,
        record.entity_id as customer_id,
        record.risk_level,
        record.reasons,
        record.probability as churn_probability,
        record.as_of_date as month
    from record
    left join published_months
        on record.company_id = published_months.company_id
        and record.as_of_date = published_months.month
    where published_months.company_id is null

)

select * from final
