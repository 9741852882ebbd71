{{ config(indexes=[{'columns': ['company_id', 'customer_id', 'ticket_id'], 'unique': true}]) }}

with

tickets as (

    select * from {{ ref('stg_crm__tickets') }}

),

customers as (

    select * from {{ ref('stg_crm__customers') }}
    where not is_test

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

final as (

    select
        tickets.company_id,
        tickets.customer_id,
        tickets.ticket_id,
        companies.company_name,
        tickets.subject,
        tickets.category,
        tickets.priority,
        tickets.channel,
        tickets.status,
        tickets.satisfaction,
        {{ hours_between('tickets.opened_at', 'tickets.first_response_at') }} as first_response_hours,
        {{ hours_between('tickets.opened_at', 'tickets.resolved_at') }} as resolution_hours,
        coalesce(tickets.resolved_at is null or tickets.reopened_at > tickets.resolved_at, false) as is_open,
        tickets.opened_at,
        tickets.resolved_at
    from tickets
    inner join customers
        on tickets.company_id = customers.company_id
        and tickets.customer_id = customers.customer_id
    inner join companies
        on tickets.company_id = companies.company_id
    inner join clocks
        on tickets.company_id = clocks.company_id
    where tickets.opened_at >= clocks.now_at - {{ days_long(730) }}

)

select * from final
-- One customer's rows are read together.
order by company_id, customer_id, opened_at
