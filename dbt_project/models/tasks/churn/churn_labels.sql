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

leavings as (

    {{ leavings_and_silences('deletions') }}

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

customers_with_outcomes as (

    {{ churn_outcomes(customers='active_customers', horizons='horizons') }}

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
