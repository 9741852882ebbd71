with

source as (

    select * from {{ source('ml', 'promotions') }}
    where {{ is_at_work() }}

),

final as (

    select
        promotion_id,
        company_id,
        task,
        training_run_id,
        event,
        {{ model_version('model_name', 'to_version') }} as model_version,
        {{ model_version('model_name', 'from_version') }} as previous_model_version,
        why,
        decided_at
    from source

)

select * from final
