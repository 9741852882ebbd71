with

customers as (

    {{ customers_to_build(entity='tickets') }}

),

tickets as (

    select * from {{ ref('int_tickets__as_known') }}
    where {{ is_to_be_built() }}

),

tickets_per_customer as (

    select
        company_id,
        customer_id,
        as_of_date,
        {%- for days in [7, 30, 90, 180, 365] %}
        count(*) filter (where {{ in_window('days_since_opened', days) }}) as tickets_opened_{{ days }}d,
        {%- endfor %}
        {%- for days in [30, 90, 180, 365] %}
        count(*) filter (where {{ in_window('days_since_resolved', days) }}) as tickets_resolved_{{ days }}d,
        {%- endfor %}
        {%- for days in [90, 180, 365] %}
        count(*) filter (where {{ in_window('days_since_reopened', days) }}) as tickets_reopened_{{ days }}d,
        {%- endfor %}
        count(*) filter (where {{ in_window('days_since_resolved', 90) }} and not is_open and resolution_hours > 120)
            as slow_tickets_90d,
        count(*) filter (where is_open) as tickets_open,
        max(days_since_opened) filter (where is_open) as oldest_open_ticket_days,
        avg(days_since_opened) filter (where is_open) as average_open_ticket_days,
        min(days_since_opened) filter (where {{ in_window('days_since_opened', var('lookback_days')) }})
            as days_since_last_ticket,
        count(*) filter (where {{ in_window('days_since_opened', 90) }} and days_since_first_response is null)
            as tickets_unanswered_90d,
        count(*) filter (where {{ in_window('days_since_opened', 90) }} and priority in ('high', 'urgent'))
            as pressing_tickets_opened_90d,
        count(priority) filter (where {{ in_window('days_since_opened', 180) }}) as tickets_with_priority_180d,
        {%- for priority in ['low', 'high', 'urgent'] %}
        count(*) filter (where {{ in_window('days_since_opened', 180) }} and priority = '{{ priority }}')
            as {{ priority }}_tickets_180d,
        {%- endfor %}
        count(distinct category) filter (where {{ in_window('days_since_opened', 180) }}) as ticket_categories_180d,
        mode() within group (order by category) filter (where {{ in_window('days_since_opened', 180) }})
            as main_ticket_category_180d,
        array_agg(category) filter (where category is not null and {{ in_window('days_since_opened', 180) }})
            as categories_180d,
        {%- for kind in ['', 'business_'] %}
        percentile_cont(0.5) within group (order by resolution_{{ kind }}hours)
        filter (where {{ in_window('days_since_resolved', 180) }})
            as median_resolution_{{ kind }}hours_180d,
        max(resolution_{{ kind }}hours) filter (where {{ in_window('days_since_resolved', 180) }})
            as longest_resolution_{{ kind }}hours_180d,
        percentile_cont(0.5) within group (order by first_response_{{ kind }}hours)
        filter (where {{ in_window('days_since_opened', 180) }})
            as median_first_response_{{ kind }}hours_180d,
        max(first_response_{{ kind }}hours) filter (where {{ in_window('days_since_opened', 180) }})
            as longest_first_response_{{ kind }}hours_180d,
        {%- endfor %}
        avg(satisfaction) filter (where {{ in_window('days_since_opened', 180) }}) as average_satisfaction_180d,
        min(satisfaction) filter (where {{ in_window('days_since_opened', 180) }}) as lowest_satisfaction_180d,
        count(satisfaction) filter (where {{ in_window('days_since_resolved', 180) }}) as tickets_rated_180d,
        -- Day and rating in one number: the newest ticket's rating without sorting; of one day's tickets the lowest.
        min(10 * days_since_opened + satisfaction) filter (where {{ in_window('days_since_opened', 365) }})
        % 10 as last_satisfaction_365d
    from tickets
    group by company_id, customer_id, as_of_date

),

final as (

    select
        customers.company_id,
        customers.customer_id,
        customers.as_of_date,
        tickets_per_customer.main_ticket_category_180d,
        {%- for name in [
            'tickets_opened_7d', 'tickets_opened_30d', 'tickets_opened_90d', 'tickets_opened_180d',
            'tickets_opened_365d', 'tickets_resolved_30d', 'tickets_resolved_90d', 'tickets_resolved_180d',
            'tickets_resolved_365d', 'tickets_reopened_90d', 'tickets_reopened_180d', 'tickets_reopened_365d',
            'slow_tickets_90d', 'tickets_open', 'pressing_tickets_opened_90d', 'ticket_categories_180d',
        ] %}
        coalesce(tickets_per_customer.{{ name }}, customers.none_at_all)::integer as {{ name }},
        {%- endfor %}
        tickets_per_customer.oldest_open_ticket_days,
        tickets_per_customer.average_open_ticket_days::double precision as average_open_ticket_days,
        tickets_per_customer.days_since_last_ticket,
        {%- for name in ['resolution', 'first_response'] %}
        {%- for kind in ['', 'business_'] %}
        tickets_per_customer.median_{{ name }}_{{ kind }}hours_180d,
        tickets_per_customer.longest_{{ name }}_{{ kind }}hours_180d,
        {%- endfor %}
        {%- endfor %}
        tickets_per_customer.average_satisfaction_180d::double precision as average_satisfaction_180d,
        tickets_per_customer.lowest_satisfaction_180d,
        tickets_per_customer.last_satisfaction_365d,
        tickets_per_customer.tickets_rated_180d::double precision
        / nullif(tickets_per_customer.tickets_resolved_180d, 0) as rated_share_180d,
        tickets_per_customer.tickets_unanswered_90d::double precision
        / nullif(tickets_per_customer.tickets_opened_90d, 0) as unanswered_share_90d,
        {%- for priority in ['low', 'high', 'urgent'] %}
        tickets_per_customer.{{ priority }}_tickets_180d::double precision
        / nullif(tickets_per_customer.tickets_with_priority_180d, 0) as {{ priority }}_priority_share_180d,
        {%- endfor %}
        cardinality(
            array_positions(tickets_per_customer.categories_180d, tickets_per_customer.main_ticket_category_180d)
        )::double precision / cardinality(tickets_per_customer.categories_180d) as main_ticket_category_share_180d,
        -- The rate of the last 90 days by that of the year, or of the days since signup where those are fewer.
        case
            when customers.tenure_days > 90
                then tickets_per_customer.tickets_opened_90d::double precision / nullif(
                        tickets_per_customer.tickets_opened_365d * 90.0 / least(customers.tenure_days, 365), 0
                    )
        end as tickets_against_own_year,
        case
            when customers.none_at_all is not null
                then percent_rank() over (
                        partition by customers.company_id, customers.as_of_date, customers.segment
                        order by coalesce(tickets_per_customer.tickets_opened_90d, 0)
                    )
        end as tickets_rank_in_segment_90d,
        {{ feature_version('customers') }} as feature_version
    from customers
    left join tickets_per_customer
        on customers.none_at_all is not null
        and customers.company_id = tickets_per_customer.company_id
        and customers.customer_id = tickets_per_customer.customer_id
        and customers.as_of_date = tickets_per_customer.as_of_date

)

select * from final
