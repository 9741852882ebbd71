{{ config(indexes=[{'columns': ['company_id', 'task', 'as_of_date', 'feature'], 'unique': true}]) }}

with

drift as (

    select * from {{ ref('stg_ml__feature_drift') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

final as (

    select
        drift.company_id,
        drift.task,
        companies.company_name,
        drift.feature,
        drift.label,
        drift.model_version,
        drift.note,
        drift.psi,
        drift.distance,
        drift.importance,
        drift.usual,
        drift.share_missing,
        drift.share_missing_in_training,
        drift.is_drifted,
        drift.as_of_date
    from drift
    inner join companies
        on drift.company_id = companies.company_id

)

select * from final
