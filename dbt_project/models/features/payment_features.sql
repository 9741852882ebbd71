with

customers as (

    select
        company_id,
        customer_id,
        as_of_date
    from {{ ref('customer_features') }}
    where {{ is_to_be_built() }}

),

payments as (

    select * from {{ ref('int_payments__as_known') }}
    where {{ is_to_be_built() }}

),

payments_with_kinds as (

    select
        *,
        case kind when 'charge' then days_since_paid end as days_since_charge,
        case kind when 'refund' then days_since_paid end as days_since_refund,
        case when kind = 'charge' and days_since_paid is null then days_since_due end as days_overdue,
        case kind when 'refund' then -amount else amount end as revenue,
        case
            when days_since_paid is not null and days_since_due is not null
                then greatest(days_since_due - days_since_paid, 0)
        end as days_late
    from payments

),

payments_per_customer as (

    select
        company_id,
        customer_id,
        as_of_date,
        min(days_since_charge) filter (where {{ in_window('days_since_charge', var('lookback_days')) }})
            as days_since_last_payment,
        {%- for days in [30, 90, 180, 365] %}
        count(*) filter (where {{ in_window('days_since_charge', days) }}) as payments_{{ days }}d,
        sum(revenue) filter (where {{ in_window('days_since_paid', days) }}) as revenue_{{ days }}d,
        {%- endfor %}
        sum(revenue) filter (where {{ in_window('days_since_paid', 180, 90) }}) as revenue_previous_90d,
        max(days_since_charge) filter (where {{ in_window('days_since_charge', 365) }}) - min(days_since_charge)
            as days_from_first_to_last_payment_365d,
        avg(days_late) filter (where {{ in_window('days_since_charge', 180) }}) as average_days_late_180d,
        max(days_late) filter (where {{ in_window('days_since_charge', 180) }}) as most_days_late_180d,
        count(*) filter (where {{ in_window('days_overdue', 90) }}) as payments_overdue,
        sum(amount) filter (where {{ in_window('days_overdue', 90) }}) as amount_overdue,
        count(*) filter (where {{ in_window('days_since_failed', 30) }}) as failed_payments_30d,
        count(*) filter (where {{ in_window('days_since_failed', 90) }}) as failed_payments_90d,
        sum(failed_attempts) filter (where {{ in_window('days_since_issued', 90) }}) as failed_attempts_90d,
        count(*) filter (where {{ in_window('days_since_refund', 365) }}) as refunds_365d,
        sum(amount) filter (where {{ in_window('days_since_refund', 365) }}) as refunded_365d,
        sum(amount) filter (where {{ in_window('days_since_charge', 365) }}) as charged_365d,
        avg(amount) filter (where {{ in_window('days_since_charge', 60) }}) as average_charge_60d,
        avg(amount) filter (where {{ in_window('days_since_charge', 240, 60) }}) as average_charge_before_60d
    from payments_with_kinds
    group by company_id, customer_id, as_of_date

),

final as (

    select
        customers.company_id,
        customers.customer_id,
        customers.as_of_date,
        payments_per_customer.days_since_last_payment,
        {%- for name in [
            'payments_30d', 'payments_90d', 'payments_180d', 'payments_365d', 'payments_overdue',
            'failed_payments_30d', 'failed_payments_90d', 'refunds_365d',
        ] %}
        coalesce(payments_per_customer.{{ name }}, 0)::integer as {{ name }},
        {%- endfor %}
        {%- for name in ['revenue_30d', 'revenue_90d', 'revenue_180d', 'revenue_365d', 'amount_overdue'] %}
        coalesce(payments_per_customer.{{ name }}, 0)::double precision as {{ name }},
        {%- endfor %}
        payments_per_customer.failed_attempts_90d::integer as failed_attempts_90d,
        payments_per_customer.most_days_late_180d,
        payments_per_customer.average_days_late_180d::double precision as average_days_late_180d,
        payments_per_customer.days_from_first_to_last_payment_365d::double precision
        / nullif(payments_per_customer.payments_365d - 1, 0) as average_days_between_payments_365d,
        (
            payments_per_customer.revenue_90d / nullif(greatest(payments_per_customer.revenue_previous_90d, 0), 0)
        )::double precision as revenue_against_previous_90d,
        (
            payments_per_customer.refunded_365d / nullif(payments_per_customer.charged_365d, 0)
        )::double precision as refunded_share_365d,
        (
            payments_per_customer.average_charge_60d / nullif(payments_per_customer.average_charge_before_60d, 0)
        )::double precision as charge_against_half_year_before,
        {{ feature_version('customers') }} as feature_version
    from customers
    left join payments_per_customer
        on customers.company_id = payments_per_customer.company_id
        and customers.customer_id = payments_per_customer.customer_id
        and customers.as_of_date = payments_per_customer.as_of_date

)

select * from final
