{{ config(indexes=[{'columns': ['company_id', 'task', 'model_version', 'scored_by'], 'unique': true}]) }}

with

grades as (

    select * from {{ ref('stg_ml__shadow_grades') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

final as (

    select
        grades.company_id,
        grades.task,
        companies.company_name,
        grades.model_version,
        grades.scored_by,
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
        grades.log_loss_low,
        grades.log_loss_high,
        grades.brier,
        grades.calibration_error,
        grades.lift_top_decile,
        grades.first_date,
        grades.last_date,
        grades.computed_at
    from grades
    inner join companies
        on grades.company_id = companies.company_id

)

select * from final
