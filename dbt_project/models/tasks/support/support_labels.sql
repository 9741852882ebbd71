-- What each period's labels rest on, and whether that has moved, stands in int_support_labels__periods.
{{
    config(
        meta={
            'task': 'support',
            'stale_when': 'exists (select from ' ~ schema_here('intermediate') ~ '.int_support_labels__periods as due'
            ~ ' where due.company_id = periods.company_id and due.as_of_date = periods.as_of_date and due.is_due)',
        },
        post_hook=['{{ analyze_if_written() }}', "{{ note_labelled_periods('int_support_labels__periods') }}"],
    )
}}

with

population as (

    select
        company_id,
        customer_id,
        as_of_date
    from {{ ref('support_population') }}
    where {{ is_to_be_built() }}

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

settings as (

    select * from {{ ref('stg_ops__company_tasks') }}
    where task = 'support' and is_active

),

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}
    where {{ is_to_be_built() }}

),

-- As they are known today: a ticket whose priority was raised later was that urgent.
high_priority_tickets as (

    select
        company_id,
        customer_id,
        opened_at
    from {{ ref('stg_crm__tickets') }}
    where priority in ('high', 'urgent')

),

deletions as (

    select * from {{ ref('int_customers__deletions') }}

),

horizons as (

    select
        as_of_dates.company_id,
        as_of_dates.as_of_date,
        as_of_dates.as_of_at,
        settings.horizon_days,
        as_of_dates.as_of_at + {{ days_long('settings.horizon_days') }} as horizon_end_at,
        {{ is_mature('as_of_dates', 'settings', 'clocks') }} as is_mature
    from as_of_dates
    inner join clocks
        on as_of_dates.company_id = clocks.company_id
    inner join settings
        on as_of_dates.company_id = settings.company_id

),

escalations as (

    select
        horizons.company_id,
        high_priority_tickets.customer_id,
        horizons.as_of_date,
        min(high_priority_tickets.opened_at) as escalated_at
    from horizons
    inner join high_priority_tickets
        on horizons.company_id = high_priority_tickets.company_id
        and horizons.as_of_at <= high_priority_tickets.opened_at
        and horizons.horizon_end_at > high_priority_tickets.opened_at
    group by horizons.company_id, high_priority_tickets.customer_id, horizons.as_of_date

),

customers_with_status as (

    select
        population.company_id,
        population.customer_id,
        population.as_of_date,
        horizons.horizon_days,
        horizons.is_mature,
        escalations.escalated_at,
        case
            when deletions.deleted_at < horizons.as_of_at then 'left_before'
            when not horizons.is_mature then 'immature'
            when escalations.escalated_at is not null then 'escalated'
            when deletions.deleted_at < horizons.horizon_end_at then 'censored'
            else 'quiet'
        end as label_status
    from population
    inner join horizons
        on population.company_id = horizons.company_id
        and population.as_of_date = horizons.as_of_date
    left join escalations
        on population.company_id = escalations.company_id
        and population.customer_id = escalations.customer_id
        and population.as_of_date = escalations.as_of_date
    left join deletions
        on population.company_id = deletions.company_id
        and population.customer_id = deletions.customer_id

),

final as (

    select
        company_id,
        customer_id,
        as_of_date,
        label_status,
        horizon_days,
        is_mature,
        case label_status when 'escalated' then true when 'quiet' then false end as has_escalated,
        case label_status when 'escalated' then escalated_at end as escalated_at
    from customers_with_status

)

select * from final
