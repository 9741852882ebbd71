with

customers as (

    {{ customers_to_build('events', ref('customer_features'), ref('stg_ops__company_entities')) }}

),

events as (

    select * from {{ ref('int_events__as_known') }}
    where {{ is_to_be_built() }}

),

active_days as (

    select
        company_id,
        customer_id,
        as_of_date,
        days_since_occurred,
        sum(events) as events,
        sum(amount) as amount
    from events
    group by company_id, customer_id, as_of_date, days_since_occurred

),

active_days_with_gaps as (

    select
        *,
        lag(days_since_occurred) over (
            partition by company_id, customer_id, as_of_date order by days_since_occurred desc
        ) - days_since_occurred as days_since_active_day_before,
        -- The last week is 7, the one before it 6, back to 0.
        case when {{ in_window('days_since_occurred', 56) }} then 7 - (days_since_occurred - 1) / 7 end as week_number
    from active_days

),

-- One expression per feature. What the YAML does not describe serves the comparisons below, and stays here.
figures as (

    select
        customers.company_id,
        customers.customer_id,
        customers.as_of_date,
        {{ count_where(in_window('days_since_occurred', 7)) }} as active_days_7d,
        {{ count_where(in_window('days_since_occurred', 30)) }} as active_days_30d,
        {{ count_where(in_window('days_since_occurred', 90)) }} as active_days_90d,
        count(days_since_occurred) as active_days_365d,
        {{ sum_where('events', in_window('days_since_occurred', 7)) }}::integer as events_7d,
        {{ sum_where('events', in_window('days_since_occurred', 30)) }}::integer as events_30d,
        {{ sum_where('events', in_window('days_since_occurred', 90)) }}::integer as events_90d,
        {{ sum_where('events', in_window('days_since_occurred', 180)) }}::integer as events_180d,
        {{ sum_where('events', in_window('days_since_occurred', 365)) }}::integer as events_365d,
        sum(events) filter (where {{ in_window('days_since_occurred', 30) }}) as events_if_any_30d,
        sum(events) filter (where {{ in_window('days_since_occurred', 365) }}) as events_if_any_365d,
        (sum(amount) filter (where {{ in_window('days_since_occurred', 30) }}))::double precision as event_amount_30d,
        (sum(amount) filter (where {{ in_window('days_since_occurred', 90) }}))::double precision as event_amount_90d,
        min(days_since_occurred) as days_since_last_event,
        max(days_since_occurred) as days_since_first_event,
        max(days_since_active_day_before) as longest_gap_365d,
        sum(events) filter (where week_number is not null) as events_8w,
        sum(events * week_number) as events_by_week_8w
    from customers
    left join active_days_with_gaps as active_days
        on customers.company_id = active_days.company_id
        and customers.customer_id = active_days.customer_id
        and customers.as_of_date = active_days.as_of_date
    where customers.is_entity_given
    group by customers.company_id, customers.customer_id, customers.as_of_date

),

figures_of_names as (

    select
        customers.company_id,
        customers.customer_id,
        customers.as_of_date,
        count(distinct events.event_name)::integer as event_names_30d
    from customers
    left join events
        on customers.company_id = events.company_id
        and customers.customer_id = events.customer_id
        and customers.as_of_date = events.as_of_date
        and {{ in_window('events.days_since_occurred', 30) }}
    where customers.is_entity_given
    group by customers.company_id, customers.customer_id, customers.as_of_date

),

comparisons as (

    select
        *,
        {{ ratio(
            'days_since_last_event::numeric * (active_days_365d - 1)', 'days_since_first_event - days_since_last_event'
        ) }} as silence_against_usual_gap,
        -- Least squares over the weeks 0 to 7, silent ones included: (8 * sum(xy) - 28 * sum(y)) / (8 * 140 - 28 ^ 2).
        case
            when tenure_days >= 56 and is_entity_given
                then coalesce((8 * events_by_week_8w - 28 * events_8w) / 336.0, 0)
        end::double precision as weekly_activity_slope_8w,
        case
            when tenure_days >= 56
                then {{ ratio('(8 * events_by_week_8w - 28 * events_8w) / 42.0', 'events_8w') }}
        end as weekly_activity_trend_8w,
        {{ against_own_year('events_if_any_30d', 'events_if_any_365d', 30, 'tenure_days') }} as events_against_own_year,
        case
            when is_entity_given
                then percent_rank() over (
                        partition by company_id, as_of_date, segment
                        order by coalesce(events_30d, 0)
                    )
        end as activity_rank_in_segment
    from customers
    left join figures using (company_id, customer_id, as_of_date)
    left join figures_of_names using (company_id, customer_id, as_of_date)

),

final as (

    select
        {{ described_columns('features') }},
        {{ feature_version('features') }} as feature_version
    from comparisons as features

)

select * from final
