with

source as (

    select * from {{ source('ml', 'held_flips') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        task,
        entity_id,
        published_level,
        held_level,
        published_probability,
        held_probability,
        as_of_date
    from source

)

select * from final
