-- The months and segments of support_by_month hold every ticket of a customer who counts.
{{ config(meta={'dagster': {'ref': {'name': 'support_by_month', 'package': 'churn_warehouse'}}}) }}

with

tickets as (

    select
        tickets.company_id,
        count(*) as tickets
    from {{ ref('stg_crm__tickets') }} as tickets
    inner join {{ ref('stg_crm__customers') }} as customers
        on tickets.company_id = customers.company_id
        and tickets.customer_id = customers.customer_id
    where tickets.opened_at is not null and not customers.is_test
    group by tickets.company_id

),

months as (

    select
        company_id,
        sum(tickets_opened) as tickets
    from {{ ref('support_by_month') }}
    group by company_id

)

select
    tickets.company_id,
    tickets.tickets as tickets_of_crm,
    months.tickets as tickets_of_months
from tickets
left join months
    on tickets.company_id = months.company_id
where tickets.tickets is distinct from months.tickets
