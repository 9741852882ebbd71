with

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}

),

tickets as (

    select * from {{ ref('int_tickets__intervals') }}

),

final as (

    select
        as_of_dates.company_id,
        tickets.ticket_id,
        tickets.customer_id,
        tickets.channel,
        {{ known_attribute('tickets.category', 'as_of_dates.as_of_at') }} as category,
        {{ known_attribute('tickets.priority', 'as_of_dates.as_of_at') }} as priority,
        {{ known_attribute('tickets.satisfaction', 'as_of_dates.as_of_at') }} as satisfaction,
        {{ days_since('tickets.opened_date', 'as_of_dates.as_of_date') }} as days_since_opened,
        {{ days_since('tickets.first_response_date', 'as_of_dates.as_of_date') }} as days_since_first_response,
        {{ days_since('tickets.resolved_date', 'as_of_dates.as_of_date') }} as days_since_resolved,
        {{ days_since('tickets.reopened_date', 'as_of_dates.as_of_date') }} as days_since_reopened,
        {{ known_after(
            'tickets.first_response_date', 'tickets.first_response_hours', 'as_of_dates.as_of_date'
        ) }} as first_response_hours,
        {{ known_after(
            'tickets.first_response_date', 'tickets.first_response_business_hours', 'as_of_dates.as_of_date'
        ) }} as first_response_business_hours,
        {{ known_after(
            'tickets.resolved_date', 'tickets.resolution_hours', 'as_of_dates.as_of_date'
        ) }} as resolution_hours,
        {{ known_after(
            'tickets.resolved_date', 'tickets.resolution_business_hours', 'as_of_dates.as_of_date'
        ) }} as resolution_business_hours,
        not coalesce(tickets.resolved_date < as_of_dates.as_of_date, false)
        or coalesce(
            tickets.is_reopened_since_resolved and tickets.reopened_date < as_of_dates.as_of_date, false
        ) as is_open,
        as_of_dates.as_of_date
    from as_of_dates
    inner join tickets
        on as_of_dates.company_id = tickets.company_id
        and {{ is_in_force('tickets', 'as_of_dates.as_of_at') }}
        and tickets.opened_date < as_of_dates.as_of_date
        and {{ has_recent_event([
            'tickets.opened_date', 'tickets.first_response_date', 'tickets.resolved_date', 'tickets.reopened_date',
        ], 'as_of_dates.as_of_date') }}

)

select * from final
