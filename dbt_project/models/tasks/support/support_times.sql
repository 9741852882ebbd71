-- From each date of the monthly grid on: the first escalation, and until when it can be known, whatever the horizon.
-- Read when models are trained, from what has been loaded then.
{{
    config(
        materialized='view',
        contract={'enforced': false},
    )
}}

with

population as (

    select
        company_id,
        customer_id,
        as_of_date
    from {{ ref('support_population') }}
    where extract(day from as_of_date) = 1

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}
    where extract(day from as_of_date) = 1

),

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

customers_until_now as (

    select
        population.company_id,
        population.customer_id,
        population.as_of_date,
        as_of_dates.as_of_at,
        clocks.observed_until as observed_until_at,
        deletions.deleted_at
    from population
    inner join as_of_dates
        on population.company_id = as_of_dates.company_id
        and population.as_of_date = as_of_dates.as_of_date
    inner join clocks
        on population.company_id = clocks.company_id
        and as_of_dates.as_of_at < clocks.observed_until
    left join deletions
        on population.company_id = deletions.company_id
        and population.customer_id = deletions.customer_id
    where coalesce(deletions.deleted_at >= as_of_dates.as_of_at, true)

),

escalations as (

    select
        customers_until_now.company_id,
        customers_until_now.customer_id,
        customers_until_now.as_of_date,
        min(high_priority_tickets.opened_at) as escalated_at
    from customers_until_now
    inner join high_priority_tickets
        on customers_until_now.company_id = high_priority_tickets.company_id
        and customers_until_now.customer_id = high_priority_tickets.customer_id
        and customers_until_now.as_of_at <= high_priority_tickets.opened_at
        and customers_until_now.observed_until_at > high_priority_tickets.opened_at
    group by customers_until_now.company_id, customers_until_now.customer_id, customers_until_now.as_of_date

),

final as (

    select
        customers_until_now.company_id,
        customers_until_now.customer_id,
        customers_until_now.as_of_date,
        extract(epoch from escalations.escalated_at - customers_until_now.as_of_at)::double precision / 86400
            as outcome_days,
        -- Whoever escalated is seen doing it, whatever the CRM deletes later.
        extract(
            epoch from
            least(
                case when escalations.escalated_at is null then customers_until_now.deleted_at end,
                customers_until_now.observed_until_at
            ) - customers_until_now.as_of_at
        )::double precision / 86400 as observed_days
    from customers_until_now
    left join escalations
        on customers_until_now.company_id = escalations.company_id
        and customers_until_now.customer_id = escalations.customer_id
        and customers_until_now.as_of_date = escalations.as_of_date

)

select * from final
