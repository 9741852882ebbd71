with

source as (

    select * from {{ source('ops', 'load_log') }}

),

final as (

    select
        load_id,
        company_id,
        entity,
        status,
        received as records_received,
        loaded as records_loaded,
        rejected as records_rejected,
        is_backfill,
        known_at,
        started_at,
        finished_at
    from source

)

select * from final
