with

source as (

    select * from {{ source('ml', 'programme_plans') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        action,
        label as action_label,
        channel,
        nullif(owner, '') as action_owner,
        status as programme_status,
        budget,
        spent,
        capacity,
        treated,
        controls,
        eligible,
        net_value_low,
        net_value,
        net_value_high,
        at_most_more,
        net_value_with_tenth_more,
        net_value_at_weaker_effect,
        decided_on,
        period_start
    from source

)

select * from final
