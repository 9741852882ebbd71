with

source as (

    select * from {{ source('ml', 'training_runs') }}
    where task = 'churn' and company_id is not null

),

final as (

    select
        training_run_id,
        company_id,
        model_name,
        model_name || ' v' || model_version as model_version,
        status,
        rung as evidence_level,
        cause,
        decision ->> 'chosen' as chosen_candidate,
        created_at as trained_at
    from source

)

select * from final
