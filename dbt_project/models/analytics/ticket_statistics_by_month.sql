{{ config(indexes=[{'columns': ['company_id', 'month'], 'unique': true}]) }}

with

tickets as (

    select * from {{ ref('stg_crm__tickets') }}

),

test_customers as (

    select * from {{ ref('stg_crm__customers') }}
    where is_test

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

tickets_with_months as (

    select
        tickets.*,
        {{ month_of('tickets.opened_at', 'companies.time_zone') }} as opened_month,
        {{ month_of('tickets.resolved_at', 'companies.time_zone') }} as resolved_month,
        {{ month_of('tickets.reopened_at', 'companies.time_zone') }} as reopened_month,
        {{ hours_between('tickets.opened_at', 'tickets.first_response_at') }} as first_response_hours,
        {{ hours_between('tickets.opened_at', 'tickets.resolved_at') }} as resolution_hours
    from tickets
    inner join companies
        on tickets.company_id = companies.company_id
    left join test_customers
        on tickets.company_id = test_customers.company_id
        and tickets.customer_id = test_customers.customer_id
    where test_customers.customer_id is null

),

opened as (

    select
        company_id,
        opened_month as month,
        count(*) as tickets_opened,
        count(distinct customer_id) as customers_with_tickets,
        count(*) filter (where first_response_at is null) as tickets_without_answer,
        avg(satisfaction) as average_satisfaction,
        percentile_cont(0.5) within group (order by first_response_hours) as median_first_response_hours
    from tickets_with_months
    group by company_id, opened_month

),

resolved as (

    select
        company_id,
        resolved_month as month,
        count(*) as tickets_resolved,
        percentile_cont(0.5) within group (order by resolution_hours) as median_resolution_hours
    from tickets_with_months
    where resolved_month is not null
    group by company_id, resolved_month

),

reopened as (

    select
        company_id,
        reopened_month as month,
        count(*) as tickets_reopened
    from tickets_with_months
    where reopened_month is not null
    group by company_id, reopened_month

),

months as (

    select
        company_id,
        month
    from opened

    union

    select
        company_id,
        month
    from resolved

    union

    select
        company_id,
        month
    from reopened

),

final as (

    select
        months.company_id,
        coalesce(opened.tickets_opened, 0)::integer as tickets_opened,
        coalesce(resolved.tickets_resolved, 0)::integer as tickets_resolved,
        coalesce(reopened.tickets_reopened, 0)::integer as tickets_reopened,
        coalesce(opened.customers_with_tickets, 0)::integer as customers_with_tickets,
        coalesce(opened.tickets_without_answer, 0)::integer as tickets_without_answer,
        opened.average_satisfaction::double precision as average_satisfaction,
        opened.median_first_response_hours,
        resolved.median_resolution_hours,
        months.month
    from months
    left join opened
        on months.company_id = opened.company_id
        and months.month = opened.month
    left join resolved
        on months.company_id = resolved.company_id
        and months.month = resolved.month
    left join reopened
        on months.company_id = reopened.company_id
        and months.month = reopened.month

)

select * from final
