{{ config(materialized='table', post_hook='analyze {{ this }}') }}

with

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

sync_cursors as (

    select * from {{ ref('stg_ops__sync_cursors') }}

),

loads as (

    select * from {{ ref('stg_ops__loads') }}

),

company_entities as (

    select * from {{ ref('stg_ops__company_entities') }}

),

newest_load_per_entity as (

    select
        company_id,
        entity,
        max(known_at) as loaded_at,
        max(known_at) filter (where is_backfill) as first_loaded_at
    from loads
    where status = 'succeeded'
    group by company_id, entity

),

-- A load that is still running may land more: what comes after it is not settled either.
settled_loads as (

    select
        company_id,
        coalesce(min(load_id) filter (where status = 'running') - 1, max(load_id)) as settled_load_id
    from loads
    group by company_id

),

loads_per_company as (

    select
        company_entities.company_id,
        bool_and(sync_cursors.backfill_completed_at is not null) as is_loaded,
        -- What happened after the entity that was read longest ago is not known in full.
        min(newest_load_per_entity.loaded_at) as loaded_until,
        max(coalesce(newest_load_per_entity.first_loaded_at, sync_cursors.backfill_completed_at)) as first_loaded_at
    from company_entities
    left join sync_cursors
        on company_entities.company_id = sync_cursors.company_id
        and company_entities.entity = sync_cursors.entity
    left join newest_load_per_entity
        on company_entities.company_id = newest_load_per_entity.company_id
        and company_entities.entity = newest_load_per_entity.entity
    group by company_entities.company_id

),

entities_per_company as (

    select
        company_id,
        string_agg(entity, ',' order by entity) as entities
    from company_entities
    group by company_id

),

companies_with_now as (

    select
        companies.company_id,
        companies.currency,
        companies.time_zone,
        companies.segment_by,
        companies.is_active,
        -- Whatever a company may say of itself shapes its features, unless it is known not to.
        left(
            md5(
                (
                    to_jsonb(companies)
                    - array[
                        'company_id', 'company_slug', 'company_name', 'is_active', 'clock_at', 'shares_training',
                        'personal_data', 'notification_addresses', 'notifications'
                    ]
                )::text || entities_per_company.entities
            ), 8
        ) as settings_version,
        coalesce(companies.clock_at, {{ now_as_sql() }}) as now_at
    from companies
    inner join entities_per_company
        on companies.company_id = entities_per_company.company_id

),

final as (

    select
        companies_with_now.company_id,
        companies_with_now.currency,
        companies_with_now.time_zone,
        companies_with_now.segment_by,
        companies_with_now.settings_version,
        coalesce(settled_loads.settled_load_id, 0) as settled_load_id,
        companies_with_now.is_active and loads_per_company.is_loaded as is_on_the_grid,
        (companies_with_now.now_at at time zone 'UTC')::date as scoring_date,
        companies_with_now.now_at,
        loads_per_company.first_loaded_at,
        least(companies_with_now.now_at, loads_per_company.loaded_until) as observed_until
    from companies_with_now
    inner join loads_per_company
        on companies_with_now.company_id = loads_per_company.company_id
    left join settled_loads
        on companies_with_now.company_id = settled_loads.company_id

)

select * from final
