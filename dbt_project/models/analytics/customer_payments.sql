{{ config(indexes=[{'columns': ['company_id', 'customer_id', 'payment_id'], 'unique': true}]) }}

with

payments as (

    select * from {{ ref('int_payments__current') }}

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
        payments.company_id,
        payments.customer_id,
        payments.payment_id,
        companies.company_name,
        payments.kind,
        case
            when payments.voided_at is not null then 'void'
            when payments.paid_at is not null then 'paid'
            when payments.failed_at is not null then 'failed'
            when payments.due_at < clocks.now_at then 'overdue'
            else 'pending'
        end as payment_state,
        payments.method,
        payments.currency,
        case
            when payments.paid_at is null then null
            else greatest({{ days_between('payments.due_at', 'payments.paid_at') }}, 0)
        end as days_late,
        payments.revenue::numeric(38, 2) as amount,
        payments.issued_at,
        payments.due_at,
        payments.paid_at,
        payments.failed_at
    from payments
    inner join customers
        on payments.company_id = customers.company_id
        and payments.customer_id = customers.customer_id
    inner join companies
        on payments.company_id = companies.company_id
    inner join clocks
        on payments.company_id = clocks.company_id
    where payments.issued_at >= clocks.now_at - {{ days_long(730) }}

)

select * from final
-- One customer's rows are read together.
order by company_id, customer_id, issued_at
