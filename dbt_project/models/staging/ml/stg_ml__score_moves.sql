with

source as (

    select * from {{ source('ml', 'score_moves') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        task,
        entity_id,
        model_version,
        previous_model_version,
        main_feature,
        previous_probability,
        log_odds_change,
        behaviour,
        model,
        correction,
        main_feature_change,
        as_of_date,
        previous_as_of_date
    from source

)

select * from final
