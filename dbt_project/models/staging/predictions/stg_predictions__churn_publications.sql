with

source as (

    select * from {{ source('predictions', 'churn_publications') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        model_version,
        evidence_level,
        scores as customers_scored,
        as_of_date,
        published_at
    from source

)

select * from final
