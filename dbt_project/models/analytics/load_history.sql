{{ config(indexes=[{'columns': ['company_id', 'load_id'], 'unique': true}]) }}

with

loads as (

    select * from {{ ref('stg_ops__loads') }}

),

companies as (

    select * from {{ ref('stg_ops__registered_companies') }}

),

final as (

    select
        loads.company_id,
        loads.load_id,
        companies.company_name,
        loads.entity,
        loads.status,
        loads.records_received,
        loads.records_loaded,
        loads.records_rejected,
        extract(epoch from loads.finished_at - loads.started_at)::double precision as seconds,
        loads.is_backfill,
        {{ utc_date('loads.started_at') }} as started_date,
        loads.known_at,
        loads.started_at,
        loads.finished_at
    from loads
    inner join companies
        on loads.company_id = companies.company_id

)

select * from final
