with

events as (

    select * from {{ ref('int_events__as_known') }}
    where {{ is_to_be_built() }}

),

customers as (

    {{ customers_to_build(entity='events') }}

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

activity_per_customer as (

    select
        company_id,
        customer_id,
        as_of_date,
        min(days_since_occurred) as days_since_last_event,
        max(days_since_occurred) as days_since_first_event,
        count(*) as active_days_365d,
        max(days_since_active_day_before) as longest_gap_365d,
        {%- for days in [7, 30, 90] %}
        count(*) filter (where {{ in_window('days_since_occurred', days) }}) as active_days_{{ days }}d,
        {%- endfor %}
        {%- for days in [7, 30, 90, 180, 365] %}
        sum(events) filter (where {{ in_window('days_since_occurred', days) }}) as events_{{ days }}d,
        {%- endfor %}
        {%- for days in [30, 90] %}
        sum(amount) filter (where {{ in_window('days_since_occurred', days) }}) as event_amount_{{ days }}d,
        {%- endfor %}
        sum(events) filter (where week_number is not null) as events_8w,
        sum(events * week_number) as events_by_week_8w
    from active_days_with_gaps
    group by company_id, customer_id, as_of_date

),

names_per_customer as (

    select
        company_id,
        customer_id,
        as_of_date,
        count(distinct event_name) as event_names_30d
    from events
    where {{ in_window('days_since_occurred', 30) }}
    group by company_id, customer_id, as_of_date

),

final as (

    select
        customers.company_id,
        customers.customer_id,
        customers.as_of_date,
        {%- for name in [
            'active_days_7d', 'active_days_30d', 'active_days_90d', 'events_7d', 'events_30d', 'events_90d',
            'events_180d', 'events_365d',
        ] %}
        coalesce(activity_per_customer.{{ name }}, customers.none_at_all)::integer as {{ name }},
        {%- endfor %}
        coalesce(names_per_customer.event_names_30d, customers.none_at_all)::integer as event_names_30d,
        activity_per_customer.days_since_last_event,
        activity_per_customer.longest_gap_365d,
        {%- for name in ['event_amount_30d', 'event_amount_90d'] %}
        activity_per_customer.{{ name }}::double precision as {{ name }},
        {%- endfor %}
        {{ ratio(
            'activity_per_customer.days_since_last_event::numeric * (activity_per_customer.active_days_365d - 1)',
            'activity_per_customer.days_since_first_event - activity_per_customer.days_since_last_event',
        ) }} as silence_against_usual_gap,
        -- Least squares over the weeks 0 to 7, silent ones included: (8 * sum(xy) - 28 * sum(y)) / (8 * 140 - 28 ^ 2).
        case
            when customers.tenure_days >= 56
                then coalesce(
                        (8 * activity_per_customer.events_by_week_8w - 28 * activity_per_customer.events_8w) / 336.0,
                        customers.none_at_all
                    )
        end::double precision as weekly_activity_slope_8w,
        case
            when customers.tenure_days >= 56
                then {{ ratio(
                    '(8 * activity_per_customer.events_by_week_8w - 28 * activity_per_customer.events_8w) / 42.0',
                    'activity_per_customer.events_8w',
                ) }}
        end as weekly_activity_trend_8w,
        {{ against_own_year(
            'activity_per_customer.events_30d', 'activity_per_customer.events_365d', 30, 'customers.tenure_days'
        ) }} as events_against_own_year,
        case
            when customers.none_at_all is not null
                then percent_rank() over (
                        partition by customers.company_id, customers.as_of_date, customers.segment
                        order by coalesce(activity_per_customer.events_30d, 0)
                    )
        end as activity_rank_in_segment,
        {{ feature_version('customers') }} as feature_version
    from customers
    left join activity_per_customer
        on customers.company_id = activity_per_customer.company_id
        and customers.customer_id = activity_per_customer.customer_id
        and customers.as_of_date = activity_per_customer.as_of_date
    left join names_per_customer
        on customers.company_id = names_per_customer.company_id
        and customers.customer_id = names_per_customer.customer_id
        and customers.as_of_date = names_per_customer.as_of_date

)

select * from final
