{{ config(indexes=[{'columns': ['company_id', 'task'], 'unique': true}]) }}

with

grades as (

    select * from {{ ref('stg_ml__track_record_grades') }}
    where as_of_month is null

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

final as (

    select
        grades.company_id,
        grades.task,
        companies.company_name,
        companies.currency,
        grades.scores,
        grades.customers,
        grades.outcomes,
        grades.promised,
        grades.kept,
        grades.kept_low,
        grades.kept_high,
        grades.auc,
        grades.auc_low,
        grades.auc_high,
        grades.average_precision,
        grades.log_loss,
        grades.brier,
        grades.calibration_error,
        grades.lift_top_decile,
        grades.high_risk,
        grades.high_risk_outcomes,
        grades.high_risk_kept,
        grades.high_risk_kept_low,
        grades.high_risk_kept_high,
        grades.entities_with_outcome,
        grades.entities_named,
        grades.named_share,
        grades.named_share_low,
        grades.named_share_high,
        grades.value_lost,
        grades.value_lost_named,
        grades.promised between grades.kept_low and grades.kept_high as is_kept,
        grades.is_replayed,
        grades.first_month,
        grades.last_month,
        grades.computed_at
    from grades
    inner join companies
        on grades.company_id = companies.company_id

)

select * from final
