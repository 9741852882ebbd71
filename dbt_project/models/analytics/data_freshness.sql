{{ config(indexes=[{'columns': ['company_id', 'entity'], 'unique': true}]) }}

with

companies as (

    select * from {{ ref('stg_ops__registered_companies') }}

),

loads as (

    select * from {{ ref('stg_ops__loads') }}

),

company_entities as (

    select
        company_id,
        company_name,
        unnest(entities) as entity,
        is_active,
        coalesce(clock_at, {{ now_as_sql() }}) as now_at
    from companies

),

newest_loads as (

    select distinct on (company_id, entity) *
    from loads
    order by company_id asc, entity asc, load_id desc

),

newest_good_loads as (

    select
        company_id,
        entity,
        max(known_at) as loaded_until,
        max(finished_at) as finished_at
    from loads
    where status = 'succeeded'
    group by company_id, entity

),

final as (

    select
        company_entities.company_id,
        company_entities.entity,
        company_entities.company_name,
        coalesce(newest_loads.status, 'never') as last_status,
        newest_loads.records_rejected as last_records_rejected,
        extract(epoch from company_entities.now_at - newest_good_loads.loaded_until)::double precision / 3600
            as hours_behind,
        company_entities.is_active,
        newest_good_loads.loaded_until,
        newest_good_loads.finished_at as last_loaded_at
    from company_entities
    left join newest_loads
        on company_entities.company_id = newest_loads.company_id
        and company_entities.entity = newest_loads.entity
    left join newest_good_loads
        on company_entities.company_id = newest_good_loads.company_id
        and company_entities.entity = newest_good_loads.entity

)

select * from final
