with

source as (

    select * from {{ source('ml', 'evaluations') }}
    where {{ is_at_work() }}

),

final as (

    select
        training_run_id,
        company_id,
        task,
        candidate,
        metric,
        value as metric_value
    from source

)

select * from final
