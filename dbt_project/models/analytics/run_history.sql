{{
    config(
        indexes=[{'columns': ['company_id', 'run_id'], 'unique': true}],
        grants={'select': ['churn_operator']},
    )
}}

with

runs as (

    select * from {{ ref('stg_ops__runs') }}

),

companies as (

    select * from {{ ref('stg_ops__registered_companies') }}

),

final as (

    select
        coalesce(runs.company_id, 0) as company_id,
        runs.run_id,
        coalesce(companies.company_name, 'All companies') as company_name,
        runs.stage,
        runs.status,
        left(runs.error, 300) as error,
        runs.dagster_run_id,
        extract(epoch from runs.finished_at - runs.started_at)::double precision as seconds,
        {{ utc_date('runs.started_at') }} as started_date,
        runs.started_at,
        runs.finished_at
    from runs
    left join companies
        on runs.company_id = companies.company_id

)

select * from final
