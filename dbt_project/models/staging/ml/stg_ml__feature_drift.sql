with

source as (

    select * from {{ source('ml', 'feature_drift') }}
    where task = 'churn'

),

final as (

    select
        company_id,
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
