with

source as (

    select * from {{ source('raw', 'rejected_records') }}

),

final as (

    select
        rejected_id,
        company_id,
        record_id,
        load_id,
        entity,
        reason,
        rejected_at
    from source

)

select * from final
