{{ config(indexes=[{'columns': ['company_id', 'month', 'segment'], 'unique': true}]) }}

with

payments as (

    select * from {{ ref('int_payments__current') }}
    where kind = 'charge' and voided_at is null

),

segments as (

    select * from {{ ref('int_customers__segments') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

payments_with_states as (

    select
        payments.company_id,
        segments.segment,
        payments.amount,
        payments.paid_at is not null as is_paid,
        coalesce({{ utc_date('payments.paid_at') }} > {{ utc_date('payments.due_at') }}, false) as is_late,
        coalesce(payments.paid_at is null and payments.failed_at is not null, false) as is_failed,
        coalesce(payments.paid_at is null and payments.due_at < clocks.now_at, false) as is_overdue,
        {{ month_of(
            'coalesce(payments.due_at, payments.issued_at, payments.paid_at)', 'companies.time_zone'
        ) }} as month
    from payments
    inner join companies
        on payments.company_id = companies.company_id
    inner join clocks
        on payments.company_id = clocks.company_id
    inner join segments
        on payments.company_id = segments.company_id
        and payments.customer_id = segments.customer_id

),

final as (

    select
        payments_with_states.company_id,
        payments_with_states.segment,
        companies.company_name,
        companies.currency,
        count(*)::integer as payments_due,
        (count(*) filter (where payments_with_states.is_paid and not payments_with_states.is_late))::integer
            as payments_on_time,
        (count(*) filter (where payments_with_states.is_paid and payments_with_states.is_late))::integer
            as payments_late,
        (count(*) filter (where payments_with_states.is_failed))::integer as payments_failed,
        (count(*) filter (where payments_with_states.is_overdue))::integer as payments_overdue,
        coalesce(sum(payments_with_states.amount), 0)::numeric(38, 2) as amount_due,
        coalesce(sum(payments_with_states.amount) filter (where payments_with_states.is_failed), 0)::numeric(38, 2)
            as amount_failed,
        coalesce(sum(payments_with_states.amount) filter (where payments_with_states.is_overdue), 0)::numeric(38, 2)
            as amount_overdue,
        payments_with_states.month
    from payments_with_states
    inner join companies
        on payments_with_states.company_id = companies.company_id
    where payments_with_states.month is not null
    group by
        payments_with_states.company_id,
        payments_with_states.segment,
        companies.company_name,
        companies.currency,
        payments_with_states.month

)

select * from final
