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
        {{ known_attribute('tickets.priority') }},
        {{ known_attribute('tickets.satisfaction') }},
        as_of_dates.as_of_date,
        as_of_dates.as_of_at,
        tickets.opened_at,
        {{ past_event('tickets.first_response_at') }},
        {{ past_event('tickets.resolved_at') }},
        {{ past_event('tickets.reopened_at') }}
    from as_of_dates
    inner join tickets
        on as_of_dates.company_id = tickets.company_id
        and tickets.known_from < as_of_dates.as_of_at
        and tickets.known_to >= as_of_dates.as_of_at
        and tickets.opened_at < as_of_dates.as_of_at
        and {{ has_recent_event([
            'tickets.opened_at', 'tickets.first_response_at', 'tickets.resolved_at', 'tickets.reopened_at',
        ]) }}

)

select * from final
