with

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}

),

payments as (

    select * from {{ ref('int_payments__intervals') }}

),

final as (

    select
        as_of_dates.company_id,
        payments.payment_id,
        payments.customer_id,
        payments.kind,
        {{ known_attribute('payments.method') }},
        payments.amount,
        {{ known_attribute('payments.failed_attempts') }},
        as_of_dates.as_of_date,
        as_of_dates.as_of_at,
        payments.issued_at,
        {{ past_event('payments.due_at') }},
        {{ past_event('payments.paid_at') }},
        {{ past_event('payments.failed_at') }}
    from as_of_dates
    inner join payments
        on as_of_dates.company_id = payments.company_id
        and payments.known_from < as_of_dates.as_of_at
        and payments.known_to >= as_of_dates.as_of_at
        and payments.issued_at < as_of_dates.as_of_at
        and (payments.voided_at >= as_of_dates.as_of_at) is not false
        and {{ has_recent_event([
            'payments.issued_at', 'payments.due_at', 'payments.paid_at', 'payments.failed_at',
        ]) }}

)

select * from final
