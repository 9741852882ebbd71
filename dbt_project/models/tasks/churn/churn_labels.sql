-- What each period's labels rest on, and whether that has moved, stands in int_churn_labels__periods.
{{
    config(
        meta={
            'task': 'churn',
            'stale_when': 'exists (select from ' ~ schema_here('intermediate') ~ '.int_churn_labels__periods as due'
            ~ ' where due.company_id = periods.company_id and due.as_of_date = periods.as_of_date and due.is_due)',
        },
        post_hook=['{{ analyze_if_written() }}', "{{ note_labelled_periods('int_churn_labels__periods') }}"],
    )
}}

-- depends_on: {{ ref('stg_ops__company_tasks') }}

with

active_customers as (

    select
        company_id,
        customer_id,
        as_of_date
    from {{ ref('churn_population') }}
    where {{ is_to_be_built() }}

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

settings as (

    select * from {{ ref('int_churn__settings') }}

),

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}
    where {{ is_to_be_built() }}

),

deletions as (

    select * from {{ ref('int_customers__deletions') }}

),

-- Whom the CRM deleted before the silence was up cannot be known to have fallen silent.
leavings as (

    select
        company_id,
        customer_id,
        left_at,
        returned_at,
        false as is_cut_short
    from {{ ref('int_customers__leavings') }}

    union all

    select
        silences.company_id,
        silences.customer_id,
        silences.left_at,
        silences.returned_at,
        coalesce(deletions.deleted_at <= silences.left_at, false) as is_cut_short
    from {{ ref('int_customers__silences') }} as silences
    left join deletions
        on silences.company_id = deletions.company_id
        and silences.customer_id = deletions.customer_id

),

companies_that_count_downgrades as (

    select company_id from settings
    where churn_kind = 'downgrade'

),

-- Without such a company the first condition is false before any price is read.
known_prices as (

    select
        company_id,
        customer_id,
        currency,
        monthly_price,
        as_of_date
    from {{ ref('int_customers__as_known') }}
    where
        {{ is_to_be_built() }}
        and (select count(*) from companies_that_count_downgrades) > 0
        and company_id in (select companies_that_count_downgrades.company_id from companies_that_count_downgrades)

),

price_spells as (

    select * from {{ ref('int_customers__price_spells') }}
    where
        (select count(*) from companies_that_count_downgrades) > 0
        and company_id in (select companies_that_count_downgrades.company_id from companies_that_count_downgrades)

),

horizons as (

    select
        as_of_dates.company_id,
        as_of_dates.as_of_date,
        as_of_dates.as_of_at,
        settings.churn_kind,
        clocks.currency,
        settings.inactivity_days,
        settings.horizon_days,
        settings.downgrade_share,
        clocks.first_loaded_at,
        as_of_dates.as_of_at + {{ days_long('settings.horizon_days') }} as horizon_end_at,
        {{ is_mature('as_of_dates', 'settings', 'clocks') }} as is_mature
    from as_of_dates
    inner join clocks
        on as_of_dates.company_id = clocks.company_id
    inner join settings
        on as_of_dates.company_id = settings.company_id

),

leavings_around_the_date as (

    select
        active_customers.company_id,
        active_customers.customer_id,
        active_customers.as_of_date,
        bool_or(leavings.left_at < horizons.as_of_at and leavings.returned_at >= horizons.as_of_at) as has_left_before,
        min(leavings.left_at) filter (where leavings.left_at >= horizons.as_of_at and not leavings.is_cut_short)
            as left_at,
        bool_or(leavings.is_cut_short) as is_cut_short
    from active_customers
    inner join horizons
        on active_customers.company_id = horizons.company_id
        and active_customers.as_of_date = horizons.as_of_date
    inner join leavings
        on active_customers.company_id = leavings.company_id
        and active_customers.customer_id = leavings.customer_id
        and leavings.left_at < horizons.horizon_end_at
    group by active_customers.company_id, active_customers.customer_id, active_customers.as_of_date

),

-- What a customer may pay at most to have churned by paying less: known as features are, and from the first load on.
downgrade_limits as (

    select
        known_prices.company_id,
        known_prices.customer_id,
        known_prices.as_of_date,
        horizons.as_of_at,
        horizons.horizon_end_at,
        horizons.currency as company_currency,
        coalesce(known_prices.currency, horizons.currency) as currency,
        known_prices.monthly_price * (1 - horizons.downgrade_share::numeric) as price_limit
    from known_prices
    inner join horizons
        on known_prices.company_id = horizons.company_id
        and known_prices.as_of_date = horizons.as_of_date
    where
        known_prices.monthly_price > 0
        and horizons.as_of_at > horizons.first_loaded_at

),

downgrades_around_the_date as (

    select
        downgrade_limits.company_id,
        downgrade_limits.customer_id,
        downgrade_limits.as_of_date,
        bool_or(price_spells.begins_at < downgrade_limits.as_of_at) as has_paid_less_before,
        min(price_spells.begins_at) filter (where price_spells.begins_at >= downgrade_limits.as_of_at)
            as downgraded_at
    from downgrade_limits
    inner join price_spells
        on downgrade_limits.company_id = price_spells.company_id
        and downgrade_limits.customer_id = price_spells.customer_id
        and downgrade_limits.currency = coalesce(price_spells.currency, downgrade_limits.company_currency)
        and downgrade_limits.price_limit >= price_spells.monthly_price
        and downgrade_limits.horizon_end_at > price_spells.begins_at
        and downgrade_limits.as_of_at <= price_spells.ends_at
    group by downgrade_limits.company_id, downgrade_limits.customer_id, downgrade_limits.as_of_date

),

customers_with_outcomes as (

    select
        active_customers.company_id,
        active_customers.customer_id,
        active_customers.as_of_date,
        horizons.churn_kind,
        horizons.inactivity_days,
        horizons.horizon_days,
        horizons.downgrade_share,
        horizons.is_mature,
        -- Gone before the date, or on the lower price already, though the warehouse heard of it later.
        coalesce(leavings_around_the_date.has_left_before, false)
        or coalesce(deletions.deleted_at < horizons.as_of_at, false)
        or coalesce(downgrades_around_the_date.has_paid_less_before, false) as has_left_before,
        -- A customer who had paid for long enough stayed through the horizon, deleted in it or not.
        coalesce(deletions.deleted_at < horizons.horizon_end_at, false)
        and (horizons.churn_kind <> 'inactivity' or leavings_around_the_date.is_cut_short) as is_deleted_in_horizon,
        least(leavings_around_the_date.left_at, downgrades_around_the_date.downgraded_at) as churn_moment_at
    from active_customers
    inner join horizons
        on active_customers.company_id = horizons.company_id
        and active_customers.as_of_date = horizons.as_of_date
    left join leavings_around_the_date
        on active_customers.company_id = leavings_around_the_date.company_id
        and active_customers.customer_id = leavings_around_the_date.customer_id
        and active_customers.as_of_date = leavings_around_the_date.as_of_date
    left join deletions
        on active_customers.company_id = deletions.company_id
        and active_customers.customer_id = deletions.customer_id
    left join downgrades_around_the_date
        on active_customers.company_id = downgrades_around_the_date.company_id
        and active_customers.customer_id = downgrades_around_the_date.customer_id
        and active_customers.as_of_date = downgrades_around_the_date.as_of_date

),

customers_with_status as (

    select
        *,
        case
            when has_left_before then 'left_before'
            when not is_mature then 'immature'
            when churn_moment_at is not null then 'churned'
            when is_deleted_in_horizon then 'censored'
            else 'retained'
        end as label_status
    from customers_with_outcomes

),

final as (

    select
        company_id,
        customer_id,
        as_of_date,
        churn_kind,
        label_status,
        inactivity_days,
        horizon_days,
        downgrade_share,
        is_mature,
        case label_status when 'churned' then true when 'retained' then false end as is_churned,
        case label_status when 'churned' then churn_moment_at end as churned_at
    from customers_with_status

)

select * from final
