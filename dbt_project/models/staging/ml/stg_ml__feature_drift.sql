with

source as (

    select * from {{ source('ml', 'feature_drift') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        task,
        feature,
        label,
        model_version,
        note,
        new_categories,
        psi,
        distance,
        importance,
        usual,
        share_missing,
        share_missing_in_training,
        is_drifted,
        as_of_date,
        measured_at
    from source

)

select * from final
