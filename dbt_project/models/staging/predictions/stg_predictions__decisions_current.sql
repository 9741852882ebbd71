with

source as (

    select * from {{ source('predictions', 'decisions_current') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        customer_id,
        action,
        rests_on,
        value_segment,
        reasons,
        propensity,
        net_value_low,
        net_value,
        net_value_high,
        cost,
        is_control,
        decided_on,
        as_of_date
    from source

)

select * from final
