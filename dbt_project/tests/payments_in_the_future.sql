-- Payments paid after the company's own now. They count from the first as_of_date after them.
{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'stg_crm__payments'}}}) }}

select
    payments.company_id,
    count(*) as payments_in_the_future
from {{ ref('stg_crm__payments') }} as payments
inner join {{ ref('int_companies__clocks') }} as clocks
    on payments.company_id = clocks.company_id
where payments.paid_at > clocks.now_at
group by payments.company_id
