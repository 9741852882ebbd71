with

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}

),

events as (

    select * from {{ ref('int_events__by_day') }}

),

final as (

    select
        as_of_dates.company_id,
        events.customer_id,
        events.event_name,
        events.events,
        case when events.attributes_known_from_date < as_of_dates.as_of_date then events.amount end as amount,
        as_of_dates.as_of_date - events.occurred_date as days_since_occurred,
        as_of_dates.as_of_date
    from as_of_dates
    inner join events
        on as_of_dates.company_id = events.company_id
        and events.known_from_date < as_of_dates.as_of_date
        and events.known_to_date >= as_of_dates.as_of_date
        and {{ has_recent_event(['events.occurred_date'], 'as_of_dates.as_of_date') }}

)

select * from final
