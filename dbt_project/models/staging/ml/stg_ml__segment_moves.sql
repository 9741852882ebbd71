with

source as (

    select * from {{ source('ml', 'segment_moves') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        customer_id,
        value_segment,
        previous_segment,
        cause,
        moved_on
    from source

)

select * from final
