with

source as (

    select * from {{ source('ml', 'promotions') }}
    where task = 'churn'

),

final as (

    select
        promotion_id,
        company_id,
        training_run_id,
        event,
        model_name || ' v' || to_version as model_version,
        model_name || ' v' || from_version as previous_model_version,
        why,
        decided_at
    from source

)

select * from final
