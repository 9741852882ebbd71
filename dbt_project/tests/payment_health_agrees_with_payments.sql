-- The months and segments of payment_health_by_month hold every charge of a customer who counts.
{{ config(meta={'dagster': {'ref': {'name': 'payment_health_by_month', 'package': 'churn_warehouse'}}}) }}

with

payments as (

    select
        payments.company_id,
        count(*) as payments,
        coalesce(sum(payments.amount), 0)::numeric(38, 2) as amount
    from {{ ref('int_payments__current') }} as payments
    inner join {{ ref('stg_crm__customers') }} as customers
        on payments.company_id = customers.company_id
        and payments.customer_id = customers.customer_id
    where
        payments.kind = 'charge'
        and payments.voided_at is null
        and not customers.is_test
        and coalesce(payments.due_at, payments.issued_at, payments.paid_at) is not null
    group by payments.company_id

),

months as (

    select
        company_id,
        sum(payments_due) as payments,
        sum(amount_due) as amount,
        count(*) as rows_added_up
    from {{ ref('payment_health_by_month') }}
    group by company_id

)

select
    payments.company_id,
    payments.payments as payments_of_crm,
    months.payments as payments_of_months
from payments
left join months
    on payments.company_id = months.company_id
where
    payments.payments is distinct from months.payments
    or abs(payments.amount - months.amount) > 0.01 * months.rows_added_up
