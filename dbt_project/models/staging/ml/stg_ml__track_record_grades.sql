with

source as (

    select * from {{ source('ml', 'track_record_grades') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        task,
        as_of_month,
        first_month,
        last_month,
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
        high_risk,
        high_risk_outcomes,
        high_risk_kept,
        high_risk_kept_low,
        high_risk_kept_high,
        entities_with_outcome,
        entities_named,
        named_share,
        named_share_low,
        named_share_high,
        value_lost,
        value_lost_named,
        bins,
        deciles,
        is_replayed,
        computed_at
    from source

)

select * from final
