with

source as (

    select * from {{ source('ml', 'uplift_ledger') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        action,
        scope,
        part,
        enrolled,
        matured,
        treated,
        controls,
        treated_left,
        controls_left,
        saved_low as saved_share_low,
        saved as saved_share,
        saved_high as saved_share_high,
        earned_low,
        earned,
        earned_high,
        promised,
        spent,
        customers_needed,
        expected_end as expected_end_date,
        graded_on
    from source

)

select * from final
