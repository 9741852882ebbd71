with

source as (

    select * from {{ source('raw', 'events') }}

),

final as (

    select
        company_id,
        event_id,
        customer_id,
        load_id,
        name as event_name,
        amount,
        attributes,
        is_backfill,
        is_deleted,
        occurred_at,
        updated_at,
        known_at
    from source

)

select * from final
