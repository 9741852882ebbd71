with

payments as (

    select * from {{ ref('int_payments__as_known') }}

),

-- Charges stand beside the one issued before them, paid or not: what was asked is a price, whether or not it came in.
-- Texts come last: a sort that has to step over them to reach its keys is slower by a third.
final as (

    select
        company_id,
        as_of_date,
        days_since_issued,
        days_since_due,
        days_since_paid,
        days_since_failed,
        failed_attempts,
        case kind when 'charge' then days_since_issued end as days_since_charge_issued,
        case kind when 'charge' then days_since_paid end as days_since_charge,
        case kind when 'refund' then days_since_paid end as days_since_refund,
        case
            when kind = 'charge' and days_since_paid is not null and days_since_due is not null
                then greatest(days_since_due - days_since_paid, 0)
        end as days_late,
        case when kind = 'charge' and days_since_paid is null then days_since_due end as days_overdue,
        case
            when
                kind = 'charge'
                and {{ in_window('days_since_failed', 90) }}
                and (days_since_paid is null or days_since_paid > days_since_failed)
                then greatest(days_since_failed, coalesce(days_since_due, days_since_issued))
        end as days_in_dunning,
        amount,
        case kind when 'refund' then -amount else amount end as revenue,
        case kind when 'charge' then discount_amount end as discount_amount,
        amount + discount_amount as list_amount,
        avg(amount + discount_amount) over (payments_in_order rows between 3 preceding and 1 preceding)
            as list_amount_of_three_before,
        case
            when kind = 'charge' and charged_currency = lag(charged_currency) over payments_in_order
                then list_amount_charged / nullif(lag(list_amount_charged) over payments_in_order, 0)
        end as price_against_before,
        kind = 'charge' and days_since_due > 0 and coalesce(days_since_paid < days_since_due, true) as is_late,
        kind = 'charge' and lead(as_of_date) over payments_in_order is null as is_last_charge,
        kind = 'charge'
        and days_since_issued > 90
        and lead(days_since_issued) over payments_in_order <= 90 as is_last_charge_before_90d,
        kind = 'charge' and discount_amount = 0 and lag(discount_amount) over payments_in_order > 0
            as is_first_without_discount,
        case kind when 'charge' then method <> lag(method) over payments_in_order end as has_another_method,
        payment_id,
        customer_id,
        kind,
        method
    from payments
    window payments_in_order as (
        partition by company_id, customer_id, as_of_date, kind
        order by days_since_issued desc, payment_id asc
    )

)

select * from final
