with

customers as (

    {{ customers_to_build('payments', ref('customer_features'), ref('stg_ops__company_entities')) }}

),

charges as (

    select * from {{ ref('int_payments__charges') }}
    where {{ is_to_be_built() }}

),

-- One expression per feature, over the payments of one customer at a time: those of each are read through the index on
-- them, ordered and counted by themselves. For all customers at one time every payment would be sorted, on disk, once
-- per date that sees it. What the YAML does not describe serves the comparisons below, and stays here.
figures as (

    select
        customers.*,
        figures_of_customer.*
    from customers
    left join lateral (
        select
            -- Payments and revenue
            min(days_since_charge) filter (where {{ in_window('days_since_charge', var('lookback_days')) }})
                as days_since_last_payment,
            max(days_since_charge) filter (where {{ in_window('days_since_charge', 365) }}) - min(days_since_charge)
                as days_from_first_to_last_payment_365d,
            {{ count_where(in_window('days_since_charge', 7)) }} as payments_7d,
            {{ count_where(in_window('days_since_charge', 30)) }} as payments_30d,
            {{ count_where(in_window('days_since_charge', 90)) }} as payments_90d,
            {{ count_where(in_window('days_since_charge', 180)) }} as payments_180d,
            {{ count_where(in_window('days_since_charge', 365)) }} as payments_365d,
            {{ sum_where('revenue', in_window('days_since_paid', 7)) }} as revenue_7d,
            {{ sum_where('revenue', in_window('days_since_paid', 30)) }} as revenue_30d,
            {{ sum_where('revenue', in_window('days_since_paid', 90)) }} as revenue_90d,
            {{ sum_where('revenue', in_window('days_since_paid', 180)) }} as revenue_180d,
            {{ sum_where('revenue', in_window('days_since_paid', 365)) }} as revenue_365d,
            sum(revenue) filter (where {{ in_window('days_since_paid', 90) }}) as revenue_if_any_90d,
            sum(revenue) filter (where {{ in_window('days_since_paid', 180) }}) as revenue_if_any_180d,
            sum(revenue) filter (where {{ in_window('days_since_paid', 365) }}) as revenue_if_any_365d,
            (avg(amount) filter (where {{ in_window('days_since_charge', 30) }}))::double precision
                as average_charge_30d,
            (avg(amount) filter (where {{ in_window('days_since_charge', 90) }}))::double precision
                as average_charge_90d,
            (avg(amount) filter (where {{ in_window('days_since_charge', 365) }}))::double precision
                as average_charge_365d,
            (max(amount) filter (where {{ in_window('days_since_charge', 365) }}))::double precision
                as largest_charge_365d,
            avg(amount) filter (where {{ in_window('days_since_charge', 60) }}) as average_charge_60d,
            avg(amount) filter (where {{ in_window('days_since_charge', 240, 60) }}) as average_charge_before_60d,

            -- Refunds
            {{ count_where(in_window('days_since_refund', 90)) }} as refunds_90d,
            {{ count_where(in_window('days_since_refund', 365)) }} as refunds_365d,
            min(days_since_refund) filter (where {{ in_window('days_since_refund', 365) }}) as days_since_last_refund,
            sum(amount) filter (where {{ in_window('days_since_refund', 365) }}) as refunded_365d,
            sum(amount) filter (where {{ in_window('days_since_charge', 365) }}) as charged_365d,

            -- Late and overdue
            (avg(days_late) filter (where {{ in_window('days_since_charge', 90) }}))::double precision
                as average_days_late_90d,
            (avg(days_late) filter (where {{ in_window('days_since_charge', 180) }}))::double precision
                as average_days_late_180d,
            (avg(days_late) filter (where {{ in_window('days_since_charge', 365) }}))::double precision
                as average_days_late_365d,
            (
                avg(days_late) filter (where {{ in_window('days_since_charge', 90) }})
                - avg(days_late) filter (where {{ in_window('days_since_charge', 365, 90) }})
            )::double precision as days_late_against_before_90d,
            (stddev_samp(days_late) filter (where {{ in_window('days_since_charge', 365) }}))::double precision
                as spread_of_days_late_365d,
            max(days_late) filter (where {{ in_window('days_since_charge', 180) }}) as most_days_late_180d,
            {{ count_where('is_late and ' ~ in_window('days_since_due', 90)) }} as late_payments_90d,
            {{ count_where('days_late > 0 and ' ~ in_window('days_since_charge', 365)) }} as late_payments_365d,
            count(days_late) filter (where {{ in_window('days_since_charge', 365) }}) as payments_with_due_date_365d,
            {{ count_where(in_window('days_overdue', 90)) }} as payments_overdue,
            {{ sum_where('amount', in_window('days_overdue', 90)) }} as amount_overdue,
            max(days_overdue) filter (where {{ in_window('days_overdue', 90) }}) as longest_days_overdue,

            -- Failures and dunning
            {{ count_where(in_window('days_since_failed', 30)) }} as failed_payments_30d,
            {{ count_where(in_window('days_since_failed', 90)) }} as failed_payments_90d,
            {{ count_where(in_window('days_since_failed', 365)) }} as failed_payments_365d,
            min(days_since_failed) filter (where {{ in_window('days_since_failed', 365) }})
                as days_since_last_failed_payment,
            (sum(failed_attempts) filter (where {{ in_window('days_since_issued', 90) }}))::integer
                as failed_attempts_90d,
            max(days_in_dunning) as days_in_dunning,
            {{ sum_where('amount', 'days_in_dunning is not null') }} as amount_in_dunning,
            max(days_in_dunning) is not null as has_open_dunning_run,

            -- Discounts
            sum(discount_amount) filter (where {{ in_window('days_since_charge_issued', 90) }}) as discounted_90d,
            sum(discount_amount) filter (where {{ in_window('days_since_charge_issued', 365) }}) as discounted_365d,
            sum(list_amount) filter (where {{ in_window('days_since_charge_issued', 90) }}) as list_amount_90d,
            sum(list_amount) filter (where {{ in_window('days_since_charge_issued', 365) }}) as list_amount_365d,
            bool_or(discount_amount > 0) filter (where is_last_charge) as is_on_discount,
            min(days_since_charge_issued) filter (
                where is_first_without_discount and {{ in_window('days_since_charge_issued', 365) }}
            ) as days_since_discount_ended,
            count(*) filter (where is_first_without_discount and {{ in_window('days_since_charge_issued', 90) }}) > 0
                as has_discount_ended_90d,

            -- Prices
            {{ at_most_a_hundred('max(price_against_before) filter (where is_last_charge)') }}
                as last_charge_against_one_before,
            {{ at_most_a_hundred(
                'max(list_amount / nullif(list_amount_of_three_before, 0)) filter (where is_last_charge)'
            ) }} as last_charge_against_three_before,
            {{ at_most_a_hundred(
                'max(list_amount) filter (where is_last_charge)'
                ~ ' / nullif(max(list_amount) filter (where is_last_charge_before_90d), 0)'
            ) }} as last_charge_against_90d_before,
            {{ count_where('price_against_before > 1.01 and ' ~ in_window('days_since_issued', 365)) }}
                as price_rises_365d,
            {{ count_where('price_against_before < 0.99 and ' ~ in_window('days_since_issued', 365)) }}
                as price_falls_365d,
            min(days_since_charge_issued) filter (
                where abs(price_against_before - 1) > 0.01 and {{ in_window('days_since_charge_issued', 365) }}
            ) as days_since_price_change,

            -- Methods
            max(method) filter (where is_last_charge) as payment_method,
            bool_or(has_another_method) filter (where is_last_charge) as has_changed_method_since_charge_before,
            case
                when count(has_another_method) filter (where {{ in_window('days_since_charge_issued', 365) }}) > 0
                    then {{ count_where('has_another_method and ' ~ in_window('days_since_issued', 365)) }}
            end as method_changes_365d,
            min(days_since_charge_issued) filter (
                where has_another_method and {{ in_window('days_since_charge_issued', 365) }}
            ) as days_since_method_change
        from charges
        where
            charges.company_id = customers.company_id
            and charges.customer_id = customers.customer_id
            and charges.as_of_date = customers.as_of_date
    ) as figures_of_customer on customers.is_entity_given

),

-- Against the customer's own past, and beside the others of its segment: 0 is the lowest revenue, or the newest
-- payment.
comparisons as (

    select
        *,
        days_from_first_to_last_payment_365d::double precision / nullif(payments_365d - 1, 0)
            as average_days_between_payments_365d,
        {{ ratio(
            'days_since_last_payment::numeric * (payments_365d - 1)', 'days_from_first_to_last_payment_365d'
        ) }} as recency_against_usual_gap,
        {{ ratio('payments_90d::numeric', 'payments_180d - payments_90d') }} as payments_against_previous_90d,
        {{ against_own_year('payments_90d', 'payments_365d', 90, 'tenure_days') }} as payments_against_own_year,
        {{ ratio('revenue_if_any_90d', 'revenue_if_any_180d - revenue_if_any_90d') }} as revenue_against_previous_90d,
        {{ against_own_year('revenue_if_any_90d', 'revenue_if_any_365d', 90, 'tenure_days') }}
            as revenue_against_own_year,
        {{ ratio('average_charge_60d', 'average_charge_before_60d') }} as charge_against_half_year_before,
        {{ ratio('refunded_365d', 'charged_365d') }} as refunded_share_365d,
        {{ ratio('late_payments_365d::numeric', 'payments_with_due_date_365d') }} as late_share_365d,
        {{ ratio('discounted_90d', 'list_amount_90d') }} as discounted_share_90d,
        {{ ratio('discounted_365d', 'list_amount_365d') }} as discounted_share_365d,
        case
            when is_entity_given
                then percent_rank() over (
                        partition by company_id, as_of_date, segment
                        order by coalesce(revenue_90d, 0)
                    )
        end as revenue_rank_in_segment,
        case
            when days_since_last_payment is not null
                then percent_rank() over (
                        partition by company_id, as_of_date, segment
                        order by days_since_last_payment nulls last
                    )
        end as recency_rank_in_segment
    from figures

),

quartiles_per_company as (

    select
        company_id,
        as_of_date,
        percentile_cont(array[0.25, 0.5, 0.75]) within group (order by last_charge_against_three_before)
            as against_three_before,
        percentile_cont(array[0.25, 0.5, 0.75]) within group (order by last_charge_against_90d_before)
            as against_90d_before
    from comparisons
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
    from quartiles_per_company

),

comparisons_with_other_customers as (

    select
        comparisons.*,
        {{ at_most_a_hundred(
            'comparisons.last_charge_against_three_before / nullif(common_changes.against_three_before, 0)'
        ) }} as last_charge_against_three_before_and_others,
        case
            when comparisons.is_entity_given then common_changes.against_90d_before
        end as charges_of_all_against_90d_before
    from comparisons
    inner join common_changes
        on comparisons.company_id = common_changes.company_id
        and comparisons.as_of_date = common_changes.as_of_date

),

final as (

    select
        {{ described_columns('features') }},
        {{ feature_version('features') }} as feature_version,
        {{ rates_version('features.as_of_date') }} as rates_version
    from comparisons_with_other_customers as features

)

select * from final
