with

customers as (

    {{ customers_to_build('tickets', ref('customer_features'), ref('stg_ops__company_entities')) }}

),

tickets as (

    select * from {{ ref('int_tickets__as_known') }}
    where {{ is_to_be_built() }}

),

-- One expression per feature, over the tickets of one customer at a time: those of each are read through the index on
-- them. What the YAML does not describe serves the comparisons below, and stays here.
figures as (

    select
        customers.*,
        figures_of_customer.*
    from customers
    left join lateral (
        select
            -- Opened, resolved, reopened
            {{ count_where(in_window('days_since_opened', 7)) }} as tickets_opened_7d,
            {{ count_where(in_window('days_since_opened', 30)) }} as tickets_opened_30d,
            {{ count_where(in_window('days_since_opened', 90)) }} as tickets_opened_90d,
            {{ count_where(in_window('days_since_opened', 180)) }} as tickets_opened_180d,
            {{ count_where(in_window('days_since_opened', 365)) }} as tickets_opened_365d,
            {{ count_where(in_window('days_since_resolved', 30)) }} as tickets_resolved_30d,
            {{ count_where(in_window('days_since_resolved', 90)) }} as tickets_resolved_90d,
            {{ count_where(in_window('days_since_resolved', 180)) }} as tickets_resolved_180d,
            {{ count_where(in_window('days_since_resolved', 365)) }} as tickets_resolved_365d,
            {{ count_where(in_window('days_since_reopened', 90)) }} as tickets_reopened_90d,
            {{ count_where(in_window('days_since_reopened', 180)) }} as tickets_reopened_180d,
            {{ count_where(in_window('days_since_reopened', 365)) }} as tickets_reopened_365d,
            min(days_since_opened) filter (where {{ in_window('days_since_opened', var('lookback_days')) }})
                as days_since_last_ticket,

            -- Open now
            {{ count_where('is_open') }} as tickets_open,
            max(days_since_opened) filter (where is_open) as oldest_open_ticket_days,
            (avg(days_since_opened) filter (where is_open))::double precision as average_open_ticket_days,

            -- What they are about
            {{ count_where("priority in ('high', 'urgent') and " ~ in_window('days_since_opened', 90)) }}
                as pressing_tickets_opened_90d,
            (count(*) filter (where priority = 'low' and {{ in_window('days_since_opened', 180) }}))::double precision
            / nullif(count(priority) filter (where {{ in_window('days_since_opened', 180) }}), 0)
                as low_priority_share_180d,
            (count(*) filter (where priority = 'high' and {{ in_window('days_since_opened', 180) }}))::double precision
            / nullif(count(priority) filter (where {{ in_window('days_since_opened', 180) }}), 0)
                as high_priority_share_180d,
            (
                count(*) filter (where priority = 'urgent' and {{ in_window('days_since_opened', 180) }})
            )::double precision
            / nullif(count(priority) filter (where {{ in_window('days_since_opened', 180) }}), 0)
                as urgent_priority_share_180d,
            (count(distinct category) filter (where {{ in_window('days_since_opened', 180) }}))::integer
                as ticket_categories_180d,
            mode() within group (order by category) filter (where {{ in_window('days_since_opened', 180) }})
                as main_ticket_category_180d,
            array_agg(category) filter (where category is not null and {{ in_window('days_since_opened', 180) }})
                as categories_180d,

            -- How long they took
            {{ count_where(
                'resolution_hours > 120 and not is_open and ' ~ in_window('days_since_resolved', 90)
            ) }} as slow_tickets_90d,
            percentile_cont(0.5) within group (order by resolution_hours)
            filter (where {{ in_window('days_since_resolved', 180) }})
                as median_resolution_hours_180d,
            percentile_cont(0.5) within group (order by resolution_business_hours)
            filter (where {{ in_window('days_since_resolved', 180) }})
                as median_resolution_business_hours_180d,
            max(resolution_hours) filter (where {{ in_window('days_since_resolved', 180) }})
                as longest_resolution_hours_180d,
            max(resolution_business_hours) filter (where {{ in_window('days_since_resolved', 180) }})
                as longest_resolution_business_hours_180d,
            percentile_cont(0.5) within group (order by first_response_hours)
            filter (where {{ in_window('days_since_opened', 180) }})
                as median_first_response_hours_180d,
            percentile_cont(0.5) within group (order by first_response_business_hours)
            filter (where {{ in_window('days_since_opened', 180) }})
                as median_first_response_business_hours_180d,
            max(first_response_hours) filter (where {{ in_window('days_since_opened', 180) }})
                as longest_first_response_hours_180d,
            max(first_response_business_hours) filter (where {{ in_window('days_since_opened', 180) }})
                as longest_first_response_business_hours_180d,
            (
                count(*) filter (where days_since_first_response is null and {{ in_window('days_since_opened', 90) }})
            )::double precision
            / nullif(count(*) filter (where {{ in_window('days_since_opened', 90) }}), 0) as unanswered_share_90d,

            -- Satisfaction
            (avg(satisfaction) filter (where {{ in_window('days_since_opened', 180) }}))::double precision
                as average_satisfaction_180d,
            min(satisfaction) filter (where {{ in_window('days_since_opened', 180) }}) as lowest_satisfaction_180d,
            -- Day and rating in one number: the newest ticket's rating without sorting; of one day's the lowest.
            min(10 * days_since_opened + satisfaction) filter (where {{ in_window('days_since_opened', 365) }})
            % 10 as last_satisfaction_365d,
            (count(satisfaction) filter (where {{ in_window('days_since_resolved', 180) }}))::double precision
            / nullif(count(*) filter (where {{ in_window('days_since_resolved', 180) }}), 0) as rated_share_180d
        from tickets
        where
            tickets.company_id = customers.company_id
            and tickets.customer_id = customers.customer_id
            and tickets.as_of_date = customers.as_of_date
    ) as figures_of_customer on customers.is_entity_given

),

comparisons as (

    select
        *,
        cardinality(array_positions(categories_180d, main_ticket_category_180d))::double precision
        / cardinality(categories_180d) as main_ticket_category_share_180d,
        -- The rate of the last 90 days by that of the year, or of the days since signup where those are fewer.
        case
            when tenure_days > 90
                then tickets_opened_90d::double precision
                    / nullif(tickets_opened_365d * 90.0 / least(tenure_days, 365), 0)
        end as tickets_against_own_year,
        case
            when is_entity_given
                then percent_rank() over (
                        partition by company_id, as_of_date, segment
                        order by coalesce(tickets_opened_90d, 0)
                    )
        end as tickets_rank_in_segment_90d
    from figures

),

final as (

    select
        {{ described_columns('features') }},
        {{ feature_version('features') }} as feature_version
    from comparisons as features

)

select * from final
