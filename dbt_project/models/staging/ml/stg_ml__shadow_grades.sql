with

source as (

    select * from {{ source('ml', 'shadow_grades') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        task,
        model_version,
        scored_by,
        scores,
        customers,
        outcomes,
        promised,
        kept,
        kept_low,
        kept_high,
        auc,
        auc_low,
        auc_high,
        average_precision,
        log_loss,
        log_loss_low,
        log_loss_high,
        brier,
        calibration_error,
        lift_top_decile,
        first_date,
        last_date,
        computed_at
    from source

)

select * from final
