-- What each company means by churn, and within how many days.
{{
    config(
        schema='intermediate',
        materialized='view',
        contract={'enforced': false},
        grants={'select': ['churn_operator']},
    )
}}

with

company_tasks as (

    select * from {{ ref('stg_ops__company_tasks') }}
    where task = 'churn' and is_active

),

final as (

    select
        company_id,
        settings ->> 'kind' as churn_kind,
        settings_version,
        (settings ->> 'inactivity_days')::integer as inactivity_days,
        settings -> 'expected_every' as expected_every,
        horizon_days,
        (settings ->> 'downgrade_share')::double precision as downgrade_share,
        coalesce((settings ->> 'counts_pauses')::boolean, false) as counts_pauses
    from company_tasks

)

select * from final
