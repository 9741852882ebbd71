{{ kept_up_by_record(versions='stg_crm__ticket_versions', record_id='ticket_id') }}

with

versions as (

    select * from {{ ref('stg_crm__ticket_versions') }}
    where {{ is_touched('ticket_id') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

business_weeks as (

    select * from {{ ref('int_business_weeks') }}

),

versions_with_knowledge as (

    select
        *,
        {{ knowledge_interval('ticket_id') }}
    from versions

),

-- Impossible times: an answer or resolution before the opening counts as one at the opening and took no known time; a
-- reopening before it never was. What took longer than the lookback counts as that long.
versions_in_force as (

    select
        versions_with_knowledge.*,
        companies.time_zone,
        case
            when first_response_at >= opened_at
                then least(first_response_at, opened_at + {{ days_long(var('lookback_days')) }})
        end as first_response_counts_until,
        case
            when resolved_at >= opened_at then least(resolved_at, opened_at + {{ days_long(var('lookback_days')) }})
        end as resolution_counts_until
    from versions_with_knowledge
    inner join companies
        on versions_with_knowledge.company_id = companies.company_id
    where
        not versions_with_knowledge.is_deleted
        and versions_with_knowledge.known_from < versions_with_knowledge.known_to

),

versions_on_the_clock as (

    select
        *,
        {{ seconds_on_the_clock('opened_at', 'time_zone') }} as opened_seconds,
        {{ seconds_on_the_clock('first_response_counts_until', 'time_zone') }} as first_response_seconds,
        {{ seconds_on_the_clock('resolution_counts_until', 'time_zone') }} as resolution_seconds,
        {{ hours_between('opened_at', 'first_response_counts_until') }} as first_response_hours,
        {{ hours_between('opened_at', 'resolution_counts_until') }} as resolution_hours
    from versions_in_force

),

final as (

    select
        tickets.company_id,
        tickets.ticket_id,
        tickets.customer_id,
        tickets.channel,
        tickets.category,
        tickets.priority,
        tickets.satisfaction,
        tickets.first_response_hours,
        {{ business_hours_between(
            'tickets.opened_seconds', 'tickets.first_response_seconds', 'tickets.first_response_hours', 'weeks'
        ) }} as first_response_business_hours,
        tickets.resolution_hours,
        {{ business_hours_between(
            'tickets.opened_seconds', 'tickets.resolution_seconds', 'tickets.resolution_hours', 'weeks'
        ) }} as resolution_business_hours,
        tickets.reopened_at > tickets.resolved_at as is_reopened_since_resolved,
        {{ utc_date('tickets.opened_at') }} as opened_date,
        case
            when tickets.first_response_at is not null
                then {{ utc_date('greatest(tickets.first_response_at, tickets.opened_at)') }}
        end as first_response_date,
        case
            when tickets.resolved_at is not null
                then {{ utc_date('greatest(tickets.resolved_at, tickets.opened_at)') }}
        end as resolved_date,
        case
            when tickets.reopened_at >= tickets.opened_at then {{ utc_date('tickets.reopened_at') }}
        end as reopened_date,
        tickets.known_from,
        tickets.attributes_known_from,
        tickets.known_to
    from versions_on_the_clock as tickets
    left join business_weeks as weeks
        on tickets.company_id = weeks.company_id

)

select * from final
-- A customer's records side by side, as the marts read them.
order by company_id, customer_id
