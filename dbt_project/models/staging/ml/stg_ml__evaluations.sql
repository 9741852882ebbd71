with

source as (

    select * from {{ source('ml', 'evaluations') }}

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
