with

customers as (

    select
        company_id,
        customer_id,
        as_of_date
    from {{ ref('customer_features') }}
    where {{ is_to_be_built() }}

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
        {%- for days in [7, 30, 90, 180] %}
        count(*) filter (where {{ in_window('days_since_opened', days) }}) as tickets_opened_{{ days }}d,
        {%- endfor %}
        count(*) filter (where {{ in_window('days_since_resolved', 90) }}) as tickets_resolved_90d,
        count(*) filter (where {{ in_window('days_since_reopened', 180) }}) as tickets_reopened_180d,
        count(*) filter (where is_open) as tickets_open,
        count(*) filter (where {{ in_window('days_since_opened', 90) }} and priority in ('high', 'urgent'))
            as pressing_tickets_opened_90d,
        count(*) filter (where {{ in_window('days_since_opened', 90) }} and days_since_first_response is null)
            as tickets_unanswered_90d,
        count(*) filter (where {{ in_window('days_since_opened', 365, 30) }}) as tickets_opened_before_30d,
        max(days_since_opened) filter (where is_open) as oldest_open_ticket_days,
        min(days_since_opened) filter (where {{ in_window('days_since_opened', var('lookback_days')) }})
            as days_since_last_ticket,
        percentile_cont(0.5) within group (order by resolution_hours)
        filter (where {{ in_window('days_since_resolved', 180) }}) as median_resolution_hours_180d,
        max(resolution_hours) filter (where {{ in_window('days_since_resolved', 180) }})
            as longest_resolution_hours_180d,
        percentile_cont(0.5) within group (order by first_response_hours)
        filter (where {{ in_window('days_since_opened', 180) }}) as median_first_response_hours_180d,
        avg(satisfaction) filter (where {{ in_window('days_since_opened', 180) }}) as average_satisfaction_180d
    from tickets
    group by company_id, customer_id, as_of_date

),

final as (

    select
        customers.company_id,
        customers.customer_id,
        customers.as_of_date,
        {%- for name in [
            'tickets_opened_7d', 'tickets_opened_30d', 'tickets_opened_90d', 'tickets_opened_180d',
            'tickets_resolved_90d', 'tickets_reopened_180d', 'tickets_open', 'pressing_tickets_opened_90d',
        ] %}
        coalesce(tickets_per_customer.{{ name }}, 0)::integer as {{ name }},
        {%- endfor %}
        tickets_per_customer.oldest_open_ticket_days,
        tickets_per_customer.days_since_last_ticket,
        tickets_per_customer.median_resolution_hours_180d,
        tickets_per_customer.longest_resolution_hours_180d,
        tickets_per_customer.median_first_response_hours_180d,
        tickets_per_customer.average_satisfaction_180d::double precision as average_satisfaction_180d,
        tickets_per_customer.tickets_unanswered_90d::double precision
        / nullif(tickets_per_customer.tickets_opened_90d, 0) as unanswered_share_90d,
        -- The last 30 days against the 335 before them, at the same length.
        tickets_per_customer.tickets_opened_30d * (335.0 / 30.0)::double precision
        / nullif(tickets_per_customer.tickets_opened_before_30d, 0) as tickets_against_own_year,
        {{ feature_version('customers') }} as feature_version
    from customers
    left join tickets_per_customer
        on customers.company_id = tickets_per_customer.company_id
        and customers.customer_id = tickets_per_customer.customer_id
        and customers.as_of_date = tickets_per_customer.as_of_date

)

select * from final
