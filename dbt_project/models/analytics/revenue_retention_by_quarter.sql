{{ config(indexes=[{'columns': ['company_id', 'quarter_start', 'segment'], 'unique': true}]) }}

with

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

months as (

    select * from {{ ref('int_companies__months') }}

),

segments as (

    select * from {{ ref('int_customers__segments') }}

),

test_customers as (

    select * from {{ ref('stg_crm__customers') }}
    where is_test

),

payments as (

    select * from {{ ref('int_payments__current') }}
    where voided_at is null and paid_at is not null

),

-- Whole quarters only: the company's history holds all three months.
quarters as (

    select
        company_id,
        date_trunc('quarter', month)::date as quarter_start
    from months
    group by company_id, date_trunc('quarter', month)
    having count(*) = 3

),

revenue_per_customer as (

    select
        payments.company_id,
        payments.customer_id,
        segments.segment,
        date_trunc('quarter', {{ month_of('payments.paid_at', 'companies.time_zone') }})::date as quarter_start,
        sum(payments.revenue) as revenue
    from payments
    inner join companies
        on payments.company_id = companies.company_id
    left join segments
        on payments.company_id = segments.company_id
        and payments.customer_id = segments.customer_id
    left join test_customers
        on payments.company_id = test_customers.company_id
        and payments.customer_id = test_customers.customer_id
    where test_customers.customer_id is null
    group by
        payments.company_id,
        payments.customer_id,
        segments.segment,
        date_trunc('quarter', {{ month_of('payments.paid_at', 'companies.time_zone') }})

),

openings_and_closings as (

    select
        company_id,
        customer_id,
        segment,
        quarter_start,
        0 as opening,
        revenue as closing
    from revenue_per_customer

    union all

    select
        company_id,
        customer_id,
        segment,
        (quarter_start + interval '3 months')::date as quarter_start,
        revenue as opening,
        0 as closing
    from revenue_per_customer

),

movements as (

    select
        company_id,
        customer_id,
        segment,
        quarter_start,
        sum(opening) as opening,
        sum(closing) as closing
    from openings_and_closings
    group by company_id, customer_id, segment, quarter_start

),

final as (

    select
        movements.company_id,
        movements.segment,
        companies.company_name,
        companies.currency,
        sum(movements.opening)::numeric(38, 2) as opening_revenue,
        coalesce(sum(movements.opening) filter (where movements.closing <= 0 and movements.opening > 0), 0)
        ::numeric(38, 2) as churned_revenue,
        coalesce(
            sum(movements.opening - movements.closing) filter (
                where movements.closing > 0 and movements.closing < movements.opening
            ), 0
        )::numeric(38, 2) as contraction_revenue,
        coalesce(
            sum(movements.closing - movements.opening) filter (
                where movements.opening > 0 and movements.closing > movements.opening
            ), 0
        )::numeric(38, 2) as expansion_revenue,
        coalesce(sum(movements.closing) filter (where movements.opening <= 0 and movements.closing > 0), 0)
        ::numeric(38, 2) as new_revenue,
        sum(movements.closing)::numeric(38, 2) as closing_revenue,
        (
            sum(least(movements.opening, greatest(movements.closing, 0))) filter (where movements.opening > 0)
            / nullif(sum(movements.opening) filter (where movements.opening > 0), 0)
        )::double precision as gross_revenue_retention,
        (
            sum(greatest(movements.closing, 0)) filter (where movements.opening > 0)
            / nullif(sum(movements.opening) filter (where movements.opening > 0), 0)
        )::double precision as net_revenue_retention,
        movements.quarter_start
    from movements
    inner join companies
        on movements.company_id = companies.company_id
    inner join quarters
        on movements.company_id = quarters.company_id
        and movements.quarter_start = quarters.quarter_start
    group by
        movements.company_id,
        movements.segment,
        companies.company_name,
        companies.currency,
        movements.quarter_start

)

select * from final
