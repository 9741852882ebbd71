with

source as (

    select * from {{ source('ml', 'training_runs') }}
    where {{ is_at_work() }}

),

final as (

    select
        training_run_id,
        company_id,
        task,
        model_name,
        {{ model_version('model_name', 'model_version') }} as model_version,
        status,
        rung as evidence_level,
        cause,
        decision ->> 'chosen' as chosen_candidate,
        created_at as trained_at
    from source

)

select * from final
