with

source as (

    select * from {{ source('predictions', 'churn_scores') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        customer_id,
        model_version,
        risk_level,
        evidence_level,
        reasons,
        churn_probability,
        percentile,
        baseline_log_odds,
        as_of_date,
        scored_at
    from source

)

select * from final
