with

source as (

    select * from {{ source('ml', 'customer_values') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        customer_id,
        method,
        value_segment,
        expected_low,
        expected_value,
        expected_high,
        value_at_risk,
        probability_alive,
        valued_on
    from source

)

select * from final
