with

programme_plans as (

    select * from {{ ref('stg_ml__programme_plans') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

-- A company decides for all its programmes on one day: what stands no longer in its newest day is declared no longer.
newest_days as (

    select
        company_id,
        max(decided_on) as decided_on
    from programme_plans
    group by company_id

),

final as (

    select
        programme_plans.company_id,
        companies.company_name,
        programme_plans.action,
        programme_plans.action_label,
        programme_plans.channel,
        programme_plans.action_owner,
        companies.currency,
        programme_plans.programme_status,
        programme_plans.budget::numeric(38, 2) as budget,
        programme_plans.spent::numeric(38, 2) as spent,
        programme_plans.capacity,
        programme_plans.treated,
        programme_plans.controls,
        programme_plans.eligible,
        programme_plans.net_value_low::numeric(38, 2) as net_value_low,
        programme_plans.net_value::numeric(38, 2) as net_value,
        programme_plans.net_value_high::numeric(38, 2) as net_value_high,
        programme_plans.net_value_with_tenth_more::numeric(38, 2) as net_value_with_tenth_more,
        programme_plans.net_value_at_weaker_effect::numeric(38, 2) as net_value_at_weaker_effect,
        programme_plans.at_most_more::numeric(38, 2) as at_most_more,
        programme_plans.period_start,
        programme_plans.decided_on
    from programme_plans
    inner join newest_days
        on programme_plans.company_id = newest_days.company_id
        and programme_plans.decided_on = newest_days.decided_on
    inner join companies
        on programme_plans.company_id = companies.company_id

)

select * from final
