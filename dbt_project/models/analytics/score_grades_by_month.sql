{{ config(indexes=[
    {'columns': ['company_id', 'task', 'as_of_month', 'segment', 'model_version', 'evidence_level'], 'unique': true},
]) }}

with

grades as (

    select * from {{ ref('stg_ml__grades') }}
    where as_of_month is not null

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

final as (

    select
        grades.company_id,
        grades.task,
        companies.company_name,
        grades.segment,
        grades.model_version,
        grades.evidence_level,
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
        grades.promised between grades.kept_low and grades.kept_high as is_kept,
        grades.as_of_month
    from grades
    inner join companies
        on grades.company_id = companies.company_id

)

select * from final
