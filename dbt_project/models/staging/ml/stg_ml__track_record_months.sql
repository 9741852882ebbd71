with

source as (

    select * from {{ source('ml', 'track_record_months') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        task,
        rung as evidence_level,
        candidate,
        rows as known_rows,
        customers as known_customers,
        outcomes as known_outcomes,
        as_of_date
    from source

)

select * from final
