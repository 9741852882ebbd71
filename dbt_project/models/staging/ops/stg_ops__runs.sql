with

source as (

    select * from {{ source('ops', 'run_log') }}

),

final as (

    select
        run_log_id as run_id,
        company_id,
        dagster_run_id,
        stage,
        status,
        error,
        started_at,
        finished_at
    from source

)

select * from final
