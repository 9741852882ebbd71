{{ config(indexes=[{'columns': ['company_id', 'month', 'segment'], 'unique': true}]) }}

with

tickets as (

    select * from {{ ref('stg_crm__tickets') }}

),

segments as (

    select * from {{ ref('int_customers__segments') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

tickets_with_segments as (

    select
        tickets.company_id,
        segments.segment,
        tickets.customer_id,
        tickets.satisfaction,
        tickets.first_response_at,
        tickets.resolved_at,
        {{ hours_between('tickets.opened_at', 'tickets.first_response_at') }} as first_response_hours,
        {{ hours_between('tickets.opened_at', 'tickets.resolved_at') }} as resolution_hours,
        coalesce(tickets.resolved_at is null or tickets.reopened_at > tickets.resolved_at, false) as is_open,
        {{ month_of('tickets.opened_at', 'companies.time_zone') }} as month
    from tickets
    inner join companies
        on tickets.company_id = companies.company_id
    inner join segments
        on tickets.company_id = segments.company_id
        and tickets.customer_id = segments.customer_id
    where tickets.opened_at is not null

),

final as (

    select
        tickets_with_segments.company_id,
        tickets_with_segments.segment,
        companies.company_name,
        count(*)::integer as tickets_opened,
        count(tickets_with_segments.first_response_at)::integer as tickets_answered,
        count(tickets_with_segments.resolved_at)::integer as tickets_resolved,
        (count(*) filter (where tickets_with_segments.is_open))::integer as tickets_open,
        count(distinct tickets_with_segments.customer_id)::integer as customers_with_tickets,
        count(tickets_with_segments.satisfaction)::integer as tickets_rated,
        coalesce(sum(tickets_with_segments.satisfaction), 0)::integer as satisfaction_total,
        coalesce(sum(tickets_with_segments.first_response_hours::numeric), 0)::double precision
            as first_response_hours_total,
        coalesce(sum(tickets_with_segments.resolution_hours::numeric), 0)::double precision as resolution_hours_total,
        tickets_with_segments.month
    from tickets_with_segments
    inner join companies
        on tickets_with_segments.company_id = companies.company_id
    group by
        tickets_with_segments.company_id,
        tickets_with_segments.segment,
        companies.company_name,
        tickets_with_segments.month

)

select * from final
