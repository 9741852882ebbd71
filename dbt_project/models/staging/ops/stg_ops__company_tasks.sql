with

source as (

    select * from {{ source('ops', 'company_tasks') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        task,
        settings,
        (settings ->> 'horizon_days')::integer as horizon_days,
        -- With other settings a task's rows are others.
        left(md5(settings::text), 8) as settings_version,
        is_active
    from source

)

select * from final
