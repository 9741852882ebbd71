-- From each date of the monthly grid on: the first churn, and until when it can be known, whatever the horizon.
-- Read when models are trained, from what has been loaded then.
{{
    config(
        materialized='view',
        contract={'enforced': false},
    )
}}

with

active_customers as (

    select
        company_id,
        customer_id,
        as_of_date
    from {{ ref('churn_population') }}
    where extract(day from as_of_date) = 1

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

settings as (

    select * from {{ ref('int_churn__settings') }}

),

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}
    where extract(day from as_of_date) = 1

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
        extract(day from as_of_date) = 1
        and (select count(*) from companies_that_count_downgrades) > 0
        and company_id in (select companies_that_count_downgrades.company_id from companies_that_count_downgrades)

),

price_spells as (

    select * from {{ ref('int_customers__price_spells') }}
    where
        (select count(*) from companies_that_count_downgrades) > 0
        and company_id in (select companies_that_count_downgrades.company_id from companies_that_count_downgrades)

),

-- To the end of what has been loaded.
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
        clocks.observed_until as horizon_end_at,
        {{ is_mature('as_of_dates', 'settings', 'clocks') }} as is_mature
    from as_of_dates
    inner join clocks
        on as_of_dates.company_id = clocks.company_id
    inner join settings
        on as_of_dates.company_id = settings.company_id
    where as_of_dates.as_of_at < clocks.observed_until

),

customers_with_outcomes as (

    {{ churn_outcomes(customers='active_customers', horizons='horizons') }}

),

final as (

    select
        company_id,
        customer_id,
        as_of_date,
        extract(epoch from churn_moment_at - as_of_at)::double precision / 86400 as outcome_days,
        -- Whoever churned is seen churning, whatever the CRM deletes later.
        extract(
            epoch from least(case when churn_moment_at is null then unknown_from_at end, horizon_end_at) - as_of_at
        )::double precision / 86400 as observed_days
    from customers_with_outcomes
    where not has_left_before

)

select * from final
