with

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}

),

customers as (

    select * from {{ ref('int_customers__intervals') }}

),

changes as (

    select
        company_id,
        customer_id,
        coalesce(plan_name <> previous_plan_name, false) as is_plan_change,
        coalesce(seats - previous_seats, 0) as seats_added,
        coalesce(monthly_price - previous_monthly_price, 0) as price_added,
        edited_date as changed_date,
        attributes_known_from
    from customers
    where has_previous

),

-- Up or down goes by the price; where that stood still or is not known, by the seats.
changes_with_direction as (

    select
        *,
        sign(coalesce(nullif(price_added, 0), seats_added)) as direction
    from changes
    where is_plan_change or price_added <> 0 or seats_added <> 0

),

final as (

    select
        as_of_dates.company_id,
        changes.customer_id,
        changes.seats_added,
        changes.price_added,
        {{ days_since('changes.changed_date', 'as_of_dates.as_of_date') }} as days_since_changed,
        changes.is_plan_change,
        changes.direction = 1 as is_up,
        changes.direction = -1 as is_down,
        as_of_dates.as_of_date
    from as_of_dates
    inner join changes_with_direction as changes
        on as_of_dates.company_id = changes.company_id
        and changes.attributes_known_from < as_of_dates.as_of_at
        and {{ has_recent_event(['changes.changed_date'], 'as_of_dates.as_of_date') }}

)

select * from final
