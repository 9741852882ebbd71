with

source as (

    select * from {{ source('ml', 'track_record') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        task,
        entity_id,
        risk_level,
        reasons,
        probability,
        value_at_stake,
        outcome,
        is_replayed,
        as_of_date
    from source

)

select * from final
