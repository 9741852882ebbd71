with

customers as (

    {{ customers_to_build('sends', ref('customer_features'), ref('stg_ops__company_entities')) }}

),

sends as (

    select * from {{ ref('int_sends__as_known') }}
    where {{ is_to_be_built() }}

),

-- One expression per feature, over the sends of one customer at a time. What the YAML does not describe serves the
-- comparisons below, and stays here.
figures as (

    select
        customers.*,
        figures_of_customer.*
    from customers
    left join lateral (
        select
            -- Sent: what wears on a customer
            {{ count_where(in_window('days_since_sent', 7)) }} as sends_7d,
            {{ count_where(in_window('days_since_sent', 30)) }} as sends_30d,
            {{ count_where(in_window('days_since_sent', 90)) }} as sends_90d,
            {{ count_where(in_window('days_since_sent', 365)) }} as sends_365d,
            min(days_since_sent) filter (where {{ in_window('days_since_sent', 365) }}) as days_since_last_send,

            -- Opened, clicked, answered
            {{ count_where(in_window('days_since_opened', 30)) }} as sends_opened_30d,
            {{ count_where(in_window('days_since_opened', 90)) }} as sends_opened_90d,
            {{ count_where(in_window('days_since_opened', 365)) }} as sends_opened_365d,
            {{ count_where(in_window('days_since_clicked', 30)) }} as sends_clicked_30d,
            {{ count_where(in_window('days_since_clicked', 90)) }} as sends_clicked_90d,
            {{ count_where(in_window('days_since_clicked', 365)) }} as sends_clicked_365d,
            {{ count_where(in_window('days_since_responded', 90)) }} as send_responses_90d,
            {{ count_where(in_window('days_since_responded', 365)) }} as send_responses_365d,
            min(days_since_opened) filter (where {{ in_window('days_since_opened', 365) }}) as days_since_last_open,
            min(days_since_responded) filter (where {{ in_window('days_since_responded', 365) }})
                as days_since_last_response,
            (
                count(*) filter (where days_since_opened is not null and {{ in_window('days_since_sent', 180) }})
            )::double precision
            / nullif(count(*) filter (where {{ in_window('days_since_sent', 180) }}), 0) as open_rate_180d,
            (
                count(*) filter (where days_since_clicked is not null and {{ in_window('days_since_sent', 180) }})
            )::double precision
            / nullif(count(*) filter (where {{ in_window('days_since_sent', 180) }}), 0) as click_rate_180d,
            (
                count(*) filter (where days_since_responded is not null and {{ in_window('days_since_sent', 365) }})
            )::double precision
            / nullif(count(*) filter (where {{ in_window('days_since_sent', 365) }}), 0) as response_rate_365d,
            (sum(revenue) filter (where {{ in_window('days_since_responded', 365) }}))::double precision
                as send_revenue_365d,

            -- Unsubscribed
            coalesce(bool_or(days_since_unsubscribed is not null), false) as is_unsubscribed,
            min(days_since_unsubscribed) as days_since_unsubscribed
        from sends
        where
            sends.company_id = customers.company_id
            and sends.customer_id = customers.customer_id
            and sends.as_of_date = customers.as_of_date
    ) as figures_of_customer on customers.is_entity_given

),

comparisons as (

    select
        *,
        {{ against_own_year('sends_30d', 'sends_365d', 30, 'tenure_days') }} as sends_against_own_year
    from figures

),

final as (

    select
        {{ described_columns('features') }},
        {{ feature_version('features') }} as feature_version
    from comparisons as features

)

select * from final
