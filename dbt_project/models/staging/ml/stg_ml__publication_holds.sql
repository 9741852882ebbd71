with

source as (

    select * from {{ source('ml', 'publication_holds') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        task,
        model_version,
        release,
        accepted_by,
        accepted_because,
        reasons,
        scores as customers_scored,
        flips,
        as_of_date,
        standing_date,
        held_at,
        released_at
    from source

)

select * from final
