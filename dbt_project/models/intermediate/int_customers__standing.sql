-- A table: the mart of customers and what they are worth both join it.
{{
    config(
        materialized='table',
        post_hook='analyze {{ this }}',
        grants={'select': ['churn_operator', 'churn_ml']},
    )
}}

with

customers as (

    select * from {{ ref('stg_crm__customers') }}
    where not is_test

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

settings as (

    select * from {{ ref('int_churn__settings') }}

),

spells as (

    select * from {{ ref('int_customers__spells') }}

),

payments as (

    select * from {{ ref('int_payments__current') }}

),

payments_until_now as (

    select
        payments.company_id,
        payments.customer_id,
        payments.kind,
        payments.revenue,
        payments.paid_at,
        payments.paid_at >= clocks.now_at - {{ days_long(90) }} as is_of_90d,
        (payments.paid_at at time zone clocks.time_zone)::date as paid_date
    from payments
    inner join clocks
        on payments.company_id = clocks.company_id
    where
        payments.voided_at is null
        and payments.paid_at <= clocks.now_at

),

-- What is paid on one day is one purchase: a second invoice of the day tells nothing of when the customer comes back.
payments_per_customer as (

    select
        company_id,
        customer_id,
        max(paid_at) filter (where kind = 'charge') as last_paid_at,
        min(paid_date) filter (where kind = 'charge' and revenue > 0) as first_purchase_date,
        max(paid_date) filter (where kind = 'charge' and revenue > 0) as last_purchase_date,
        count(distinct paid_date) filter (where kind = 'charge' and revenue > 0) as purchases,
        sum(revenue) filter (where is_of_90d) as revenue_90d,
        sum(revenue) as revenue_so_far
    from payments_until_now
    group by company_id, customer_id

),

customers_who_are_there as (

    select
        company_id,
        customer_id
    from spells
    where ends_at is null
    group by company_id, customer_id

),

final as (

    select
        customers.company_id,
        customers.customer_id,
        case
            when customers.cancelled_at <= clocks.now_at then 'cancelled'
            when settings.churn_kind = 'inactivity' and customers_who_are_there.customer_id is null then 'inactive'
            else 'active'
        end as customer_status,
        coalesce(payments_per_customer.purchases, 0)::integer as purchases,
        coalesce(payments_per_customer.revenue_90d, 0) as revenue_90d,
        coalesce(payments_per_customer.revenue_so_far, 0) as revenue_so_far,
        payments_per_customer.last_paid_at,
        payments_per_customer.first_purchase_date,
        payments_per_customer.last_purchase_date,
        (clocks.now_at at time zone clocks.time_zone)::date as today
    from customers
    inner join clocks
        on customers.company_id = clocks.company_id
    left join settings
        on customers.company_id = settings.company_id
    left join customers_who_are_there
        on customers.company_id = customers_who_are_there.company_id
        and customers.customer_id = customers_who_are_there.customer_id
    left join payments_per_customer
        on customers.company_id = payments_per_customer.company_id
        and customers.customer_id = payments_per_customer.customer_id

)

select * from final
