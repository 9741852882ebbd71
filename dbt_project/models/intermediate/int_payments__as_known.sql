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
        {{ known_attribute('payments.method', 'as_of_dates.as_of_at') }} as method,
        payments.charged_currency,
        payments.list_amount_charged,
        payments.amount,
        payments.discount_amount,
        {{ known_attribute('payments.failed_attempts', 'as_of_dates.as_of_at') }} as failed_attempts,
        {{ days_since('payments.issued_date', 'as_of_dates.as_of_date') }} as days_since_issued,
        {{ days_since('payments.due_date', 'as_of_dates.as_of_date') }} as days_since_due,
        {{ days_since('payments.paid_date', 'as_of_dates.as_of_date') }} as days_since_paid,
        {{ days_since('payments.failed_date', 'as_of_dates.as_of_date') }} as days_since_failed,
        as_of_dates.as_of_date
    from as_of_dates
    inner join payments
        on as_of_dates.company_id = payments.company_id
        and {{ is_in_force('payments', 'as_of_dates.as_of_at') }}
        and payments.issued_date < as_of_dates.as_of_date
        and coalesce(payments.voided_date >= as_of_dates.as_of_date, true)
        and {{ has_recent_event([
            'payments.issued_date', 'payments.due_date', 'payments.paid_date', 'payments.failed_date',
        ], 'as_of_dates.as_of_date') }}

)

select * from final
