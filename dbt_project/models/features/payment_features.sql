with

payments as (

    select * from {{ ref('int_payments__as_known') }}
    where {{ is_to_be_built() }}

),

customers as (

    {{ customers_to_build(entity='payments') }}

),

-- Each payment with what the sums below ask of it, worked out once. Charges stand beside the one issued before them,
-- paid or not: what was asked is a price, whether or not it came in. Texts come last: a sort that has to step over
-- them to reach its keys is slower by a third.
charges_and_refunds as (

    select
        company_id,
        as_of_date,
        days_since_issued,
        days_since_paid,
        days_since_failed,
        failed_attempts,
        case kind when 'charge' then days_since_issued end as days_since_charge_issued,
        case kind when 'charge' then days_since_paid end as days_since_charge,
        case kind when 'refund' then days_since_paid end as days_since_refund,
        days_since_due,
        kind = 'charge' and days_since_due > 0 and coalesce(days_since_paid < days_since_due, true) as is_late,
        case when kind = 'charge' and days_since_paid is null then days_since_due end as days_overdue,
        case
            when
                kind = 'charge'
                and {{ in_window('days_since_failed', 90) }}
                and (days_since_paid is null or days_since_paid > days_since_failed)
                then greatest(days_since_failed, coalesce(days_since_due, days_since_issued))
        end as days_in_dunning,
        case
            when kind = 'charge' and days_since_paid is not null and days_since_due is not null
                then greatest(days_since_due - days_since_paid, 0)
        end as days_late,
        amount,
        case kind when 'refund' then -amount else amount end as revenue,
        case kind when 'charge' then discount_amount end as discount_amount,
        case
            when kind = 'charge' and charged_currency = lag(charged_currency) over payments_in_order
                then list_amount_charged / nullif(lag(list_amount_charged) over payments_in_order, 0)
        end as price_against_before,
        amount + discount_amount as list_amount,
        avg(amount + discount_amount) over (payments_in_order rows between 3 preceding and 1 preceding)
            as list_amount_of_three_before,
        kind = 'charge' and lead(as_of_date) over payments_in_order is null as is_last_charge,
        kind = 'charge'
        and days_since_issued > 90
        and lead(days_since_issued) over payments_in_order <= 90 as is_last_charge_before_90d,
        kind = 'charge' and discount_amount = 0 and lag(discount_amount) over payments_in_order > 0
            as is_first_without_discount,
        case kind when 'charge' then method <> lag(method) over payments_in_order end as has_another_method,
        customer_id,
        method
    from payments
    window payments_in_order as (
        partition by company_id, customer_id, as_of_date, kind
        order by days_since_issued desc, payment_id asc
    )

),

payments_per_customer as (

    select
        company_id,
        customer_id,
        as_of_date,
        min(days_since_charge) filter (where {{ in_window('days_since_charge', var('lookback_days')) }})
            as days_since_last_payment,
        {%- for days in [7, 30, 90, 180, 365] %}
        count(*) filter (where {{ in_window('days_since_charge', days) }}) as payments_{{ days }}d,
        sum(revenue) filter (where {{ in_window('days_since_paid', days) }}) as revenue_{{ days }}d,
        {%- endfor %}
        {%- for days in [30, 90, 365] %}
        avg(amount) filter (where {{ in_window('days_since_charge', days) }}) as average_charge_{{ days }}d,
        {%- endfor %}
        max(amount) filter (where {{ in_window('days_since_charge', 365) }}) as largest_charge_365d,
        avg(amount) filter (where {{ in_window('days_since_charge', 60) }}) as average_charge_60d,
        avg(amount) filter (where {{ in_window('days_since_charge', 240, 60) }}) as average_charge_before_60d,
        max(days_since_charge) filter (where {{ in_window('days_since_charge', 365) }}) - min(days_since_charge)
            as days_from_first_to_last_payment_365d,
        {%- for days in [90, 180, 365] %}
        avg(days_late) filter (where {{ in_window('days_since_charge', days) }}) as average_days_late_{{ days }}d,
        {%- endfor %}
        avg(days_late) filter (where {{ in_window('days_since_charge', 365, 90) }}) as average_days_late_before_90d,
        stddev_samp(days_late) filter (where {{ in_window('days_since_charge', 365) }}) as spread_of_days_late_365d,
        max(days_late) filter (where {{ in_window('days_since_charge', 180) }}) as most_days_late_180d,
        count(days_late) filter (where {{ in_window('days_since_charge', 365) }}) as payments_with_due_date_365d,
        count(*) filter (where {{ in_window('days_since_charge', 365) }} and days_late > 0) as late_payments_365d,
        count(*) filter (where is_late and {{ in_window('days_since_due', 90) }}) as late_payments_90d,
        count(*) filter (where {{ in_window('days_overdue', 90) }}) as payments_overdue,
        sum(amount) filter (where {{ in_window('days_overdue', 90) }}) as amount_overdue,
        max(days_overdue) filter (where {{ in_window('days_overdue', 90) }}) as longest_days_overdue,
        {%- for days in [30, 90, 365] %}
        count(*) filter (where {{ in_window('days_since_failed', days) }}) as failed_payments_{{ days }}d,
        {%- endfor %}
        min(days_since_failed) filter (where {{ in_window('days_since_failed', 365) }})
            as days_since_last_failed_payment,
        sum(failed_attempts) filter (where {{ in_window('days_since_issued', 90) }}) as failed_attempts_90d,
        max(days_in_dunning) as days_in_dunning,
        sum(amount) filter (where days_in_dunning is not null) as amount_in_dunning,
        {%- for days in [90, 365] %}
        count(*) filter (where {{ in_window('days_since_refund', days) }}) as refunds_{{ days }}d,
        {%- endfor %}
        min(days_since_refund) filter (where {{ in_window('days_since_refund', 365) }})
            as days_since_last_refund,
        sum(amount) filter (where {{ in_window('days_since_refund', 365) }}) as refunded_365d,
        sum(amount) filter (where {{ in_window('days_since_charge', 365) }}) as charged_365d,
        {%- for days in [90, 365] %}
        sum(discount_amount) filter (where {{ in_window('days_since_charge_issued', days) }}) as discounted_{{ days }}d,
        sum(amount + discount_amount) filter (where {{ in_window('days_since_charge_issued', days) }})
            as list_amount_{{ days }}d,
        {%- endfor %}
        bool_or(discount_amount > 0) filter (where is_last_charge) as is_on_discount,
        min(days_since_charge_issued)
        filter (where is_first_without_discount and {{ in_window('days_since_charge_issued', 365) }})
            as days_since_discount_ended,
        max(price_against_before) filter (where is_last_charge) as last_charge_against_one_before,
        max(list_amount / nullif(list_amount_of_three_before, 0)) filter (where is_last_charge)
            as last_charge_against_three_before,
        max(list_amount) filter (where is_last_charge)
        / nullif(max(list_amount) filter (where is_last_charge_before_90d), 0) as last_charge_against_90d_before,
        count(*) filter (where price_against_before > 1.01 and {{ in_window('days_since_issued', 365) }})
            as price_rises_365d,
        count(*) filter (where price_against_before < 0.99 and {{ in_window('days_since_issued', 365) }})
            as price_falls_365d,
        min(days_since_charge_issued)
        filter (where abs(price_against_before - 1) > 0.01 and {{ in_window('days_since_charge_issued', 365) }})
            as days_since_price_change,
        max(method) filter (where is_last_charge) as payment_method,
        bool_or(has_another_method) filter (where is_last_charge) as has_changed_method_since_charge_before,
        count(has_another_method) filter (where {{ in_window('days_since_charge_issued', 365) }})
            as charges_beside_one_before_365d,
        count(*) filter (where has_another_method and {{ in_window('days_since_issued', 365) }}) as method_changes_365d,
        min(days_since_charge_issued)
        filter (where has_another_method and {{ in_window('days_since_charge_issued', 365) }})
            as days_since_method_change
    from charges_and_refunds
    group by company_id, customer_id, as_of_date

),

figures_per_customer as (

    select
        customers.company_id,
        customers.customer_id,
        customers.as_of_date,
        payments_per_customer.payment_method,
        payments_per_customer.days_since_last_payment,
        {%- for name in [
            'payments_7d', 'payments_30d', 'payments_90d', 'payments_180d', 'payments_365d', 'payments_overdue',
            'late_payments_90d', 'failed_payments_30d', 'failed_payments_90d', 'failed_payments_365d', 'refunds_90d',
            'refunds_365d', 'price_rises_365d', 'price_falls_365d',
        ] %}
        coalesce(payments_per_customer.{{ name }}, customers.none_at_all)::integer as {{ name }},
        {%- endfor %}
        payments_per_customer.longest_days_overdue,
        payments_per_customer.days_since_last_failed_payment,
        payments_per_customer.failed_attempts_90d::integer as failed_attempts_90d,
        payments_per_customer.days_in_dunning,
        payments_per_customer.most_days_late_180d,
        payments_per_customer.days_since_last_refund,
        payments_per_customer.days_since_discount_ended,
        payments_per_customer.days_since_price_change,
        payments_per_customer.days_since_method_change,
        case when payments_per_customer.charges_beside_one_before_365d > 0
                then payments_per_customer.method_changes_365d::integer
        end as method_changes_365d,
        {%- for name in [
            'revenue_7d', 'revenue_30d', 'revenue_90d', 'revenue_180d', 'revenue_365d', 'amount_overdue',
            'amount_in_dunning',
        ] %}
        coalesce(payments_per_customer.{{ name }}, customers.none_at_all)::double precision as {{ name }},
        {%- endfor %}
        {%- for name in [
            'average_charge_30d', 'average_charge_90d', 'average_charge_365d', 'largest_charge_365d',
            'average_days_late_90d', 'average_days_late_180d', 'average_days_late_365d', 'spread_of_days_late_365d',
        ] %}
        payments_per_customer.{{ name }}::double precision as {{ name }},
        {%- endfor %}
        (
            payments_per_customer.average_days_late_90d - payments_per_customer.average_days_late_before_90d
        )::double precision as days_late_against_before_90d,
        {{ ratio(
            'payments_per_customer.late_payments_365d::numeric', 'payments_per_customer.payments_with_due_date_365d'
        ) }} as late_share_365d,
        payments_per_customer.days_from_first_to_last_payment_365d::double precision
        / nullif(payments_per_customer.payments_365d - 1, 0) as average_days_between_payments_365d,
        {{ ratio(
            'payments_per_customer.days_since_last_payment::numeric * (payments_per_customer.payments_365d - 1)',
            'payments_per_customer.days_from_first_to_last_payment_365d',
        ) }} as recency_against_usual_gap,
        {%- for name in ['payments', 'revenue'] %}
        {{ ratio(
            'payments_per_customer.%s_90d::numeric' % name,
            'payments_per_customer.%s_180d - payments_per_customer.%s_90d' % (name, name),
        ) }} as {{ name }}_against_previous_90d,
        {{ against_own_year(
            'payments_per_customer.%s_90d' % name, 'payments_per_customer.%s_365d' % name, 90, 'customers.tenure_days'
        ) }} as {{ name }}_against_own_year,
        {%- endfor %}
        {{ ratio('payments_per_customer.average_charge_60d', 'payments_per_customer.average_charge_before_60d') }}
            as charge_against_half_year_before,
        {{ ratio('payments_per_customer.refunded_365d', 'payments_per_customer.charged_365d') }}
            as refunded_share_365d,
        {%- for days in [90, 365] %}
        {{ ratio('payments_per_customer.discounted_%sd' % days, 'payments_per_customer.list_amount_%sd' % days) }}
            as discounted_share_{{ days }}d,
        {%- endfor %}
        -- Beside the others of its segment: 0 is the lowest revenue, or the newest payment.
        case when customers.none_at_all is not null
                then percent_rank() over (
                        partition by customers.company_id, customers.as_of_date, customers.segment
                        order by coalesce(payments_per_customer.revenue_90d, 0)
                    )
        end as revenue_rank_in_segment,
        case when payments_per_customer.days_since_last_payment is not null
                then percent_rank() over (
                        partition by customers.company_id, customers.as_of_date, customers.segment
                        order by payments_per_customer.days_since_last_payment nulls last
                    )
        end as recency_rank_in_segment,
        {{ at_most_a_hundred('payments_per_customer.last_charge_against_one_before') }}
            as last_charge_against_one_before,
        {{ at_most_a_hundred('payments_per_customer.last_charge_against_three_before') }}
            as last_charge_against_three_before,
        {{ at_most_a_hundred('payments_per_customer.last_charge_against_90d_before') }}
            as last_charge_against_90d_before,
        case
            when customers.none_at_all is not null then payments_per_customer.days_in_dunning is not null
        end as has_open_dunning_run,
        payments_per_customer.is_on_discount,
        case
            when customers.none_at_all is not null
                then coalesce({{ in_window('payments_per_customer.days_since_discount_ended', 90) }}, false)
        end as has_discount_ended_90d,
        payments_per_customer.has_changed_method_since_charge_before,
        {{ feature_version('customers') }} as feature_version,
        {{ rates_version('customers.as_of_date') }} as rates_version
    from customers
    {{ left_join_per_customer('payments_per_customer') }}

),

charges_per_company as (

    select
        company_id,
        as_of_date,
        percentile_cont(array[0.25, 0.5, 0.75]) within group (order by last_charge_against_three_before)
            as against_three_before,
        percentile_cont(array[0.25, 0.5, 0.75]) within group (order by last_charge_against_90d_before)
            as against_90d_before
    from figures_per_customer
    group by company_id, as_of_date

),

-- A change that half of the customers share is one of prices, and what is left of one's own change is one's own. Where
-- each goes their own way, or nobody has both charges yet, there is none: a median or a null of its own would tell the
-- date apart, and nothing of its customers.
common_changes as (

    select
        company_id,
        as_of_date,
        {{ shared_by_half('against_three_before') }} as against_three_before,
        {{ shared_by_half('against_90d_before') }} as against_90d_before
    from charges_per_company

),

final as (

    select
        figures_per_customer.*,
        {{ at_most_a_hundred(
            'figures_per_customer.last_charge_against_three_before'
            ' / nullif(common_changes.against_three_before, 0)'
        ) }} as last_charge_against_three_before_and_others,
        case
            when figures_per_customer.payments_365d is not null then common_changes.against_90d_before
        end as charges_of_all_against_90d_before
    from figures_per_customer
    inner join common_changes
        on figures_per_customer.company_id = common_changes.company_id
        and figures_per_customer.as_of_date = common_changes.as_of_date

)

select * from final
