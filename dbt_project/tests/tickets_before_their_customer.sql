-- Tickets opened before their customer signed up. They count as tickets; a source with many has a date wrong.
{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'stg_crm__tickets'}}}) }}

select
    tickets.company_id,
    count(*) as tickets_before_their_customer
from {{ ref('stg_crm__tickets') }} as tickets
inner join {{ ref('stg_crm__customers') }} as customers
    on tickets.company_id = customers.company_id
    and tickets.customer_id = customers.customer_id
where tickets.opened_at < customers.created_at
group by tickets.company_id
