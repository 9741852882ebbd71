with

source as (

    select * from {{ source('ml', 'grades') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        task,
        as_of_month,
        segment,
        model_version,
        evidence_level,
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
        brier,
        calibration_error,
        lift_top_decile,
        bins,
        deciles,
        computed_at
    from source

)

select * from final
