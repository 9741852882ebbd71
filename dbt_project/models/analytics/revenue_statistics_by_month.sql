{{ config(indexes=[{'columns': ['company_id', 'month'], 'unique': true}]) }}

with

payments as (

    select * from {{ ref('int_payments__current') }}
    where voided_at is null

),

test_customers as (

    select * from {{ ref('stg_crm__customers') }}
    where is_test

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

payments_with_months as (

    select
        payments.*,
        {{ month_of('payments.paid_at', 'companies.time_zone') }} as paid_month,
        {{ month_of('payments.failed_at', 'companies.time_zone') }} as failed_month
    from payments
    inner join companies
        on payments.company_id = companies.company_id
    left join test_customers
        on payments.company_id = test_customers.company_id
        and payments.customer_id = test_customers.customer_id
    where test_customers.customer_id is null

),

paid as (

    select
        company_id,
        paid_month as month,
        count(*) filter (where kind = 'charge') as payments,
        count(*) filter (where kind = 'refund') as refunds,
        count(distinct customer_id) filter (where kind = 'charge') as paying_customers,
        count(*) filter (where amount is null) as payments_without_rate,
        coalesce(sum(amount) filter (where kind = 'charge'), 0) as charged_amount,
        coalesce(sum(amount) filter (where kind = 'refund'), 0) as refunded_amount
    from payments_with_months
    where paid_month is not null
    group by company_id, paid_month

),

failed as (

    select
        company_id,
        failed_month as month,
        count(*) as failed_payments
    from payments_with_months
    where failed_month is not null
    group by company_id, failed_month

),

months as (

    select
        company_id,
        month
    from paid

    union

    select
        company_id,
        month
    from failed

),

final as (

    select
        months.company_id,
        companies.currency,
        coalesce(paid.payments, 0)::integer as payments,
        coalesce(paid.refunds, 0)::integer as refunds,
        coalesce(failed.failed_payments, 0)::integer as failed_payments,
        coalesce(paid.paying_customers, 0)::integer as paying_customers,
        coalesce(paid.payments_without_rate, 0)::integer as payments_without_rate,
        coalesce(paid.charged_amount, 0)::numeric(38, 2) as charged_amount,
        coalesce(paid.refunded_amount, 0)::numeric(38, 2) as refunded_amount,
        coalesce(paid.charged_amount - paid.refunded_amount, 0)::numeric(38, 2) as net_revenue,
        ((paid.charged_amount - paid.refunded_amount) / nullif(paid.paying_customers, 0))::numeric(38, 2)
            as net_revenue_per_paying_customer,
        months.month
    from months
    inner join companies
        on months.company_id = companies.company_id
    left join paid
        on months.company_id = paid.company_id
        and months.month = paid.month
    left join failed
        on months.company_id = failed.company_id
        and months.month = failed.month

)

select * from final
