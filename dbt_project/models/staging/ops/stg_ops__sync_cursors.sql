with

source as (

    select * from {{ source('ops', 'sync_cursors') }}

),

final as (

    select
        company_id,
        entity,
        cursor_updated_at,
        backfill_completed_at
    from source

)

select * from final
