-- Everything a company's labels rest on: a period is built anew when one of these has moved.
{{
    config(
        meta={
            'stale_when': '(built.observed_until, built.churn_kind, built.inactivity_days, built.horizon_days)'
            ' is distinct from'
            ' (clocks.observed_until, clocks.churn_kind, clocks.inactivity_days, clocks.horizon_days)',
        },
    )
}}

with

active_customers as (

    select
        company_id,
        customer_id,
        as_of_date
    from {{ ref('churn_feature_matrix') }}
    where {{ is_to_be_built() }}

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}
    where {{ is_to_be_built() }}

),

outcomes as (

    select * from {{ ref('int_customers__outcomes') }}

),

-- Read once, not once per date.
successful_charges as materialized (

    select
        company_id,
        customer_id,
        paid_at
    from {{ ref('stg_crm__payments') }}
    where
        kind = 'charge'
        and paid_at is not null
        and voided_at is null

),

horizons as (

    select
        as_of_dates.company_id,
        as_of_dates.as_of_date,
        as_of_dates.as_of_at,
        clocks.churn_kind,
        clocks.inactivity_days,
        clocks.horizon_days,
        clocks.observed_until,
        as_of_dates.as_of_at + {{ days_long('clocks.horizon_days') }} as horizon_end_at,
        (
            as_of_dates.as_of_date + clocks.horizon_days <= (clocks.observed_until at time zone 'UTC')::date
        ) is true as is_mature
    from as_of_dates
    inner join clocks
        on as_of_dates.company_id = clocks.company_id

),

charges_around_the_date as (

    select
        horizons.company_id,
        horizons.as_of_date,
        successful_charges.customer_id,
        max(successful_charges.paid_at) filter (where successful_charges.paid_at < horizons.as_of_at) as last_paid_at,
        bool_or(successful_charges.paid_at >= horizons.as_of_at) as has_paid_in_horizon
    from horizons
    inner join successful_charges
        on horizons.company_id = successful_charges.company_id
        and successful_charges.paid_at >= horizons.as_of_at - {{ days_long('horizons.inactivity_days') }}
        and successful_charges.paid_at < horizons.horizon_end_at
    where horizons.churn_kind = 'inactivity'
    group by horizons.company_id, horizons.as_of_date, successful_charges.customer_id

),

customers_with_outcomes as (

    select
        active_customers.company_id,
        active_customers.customer_id,
        active_customers.as_of_date,
        horizons.churn_kind,
        horizons.inactivity_days,
        horizons.horizon_days,
        horizons.observed_until,
        horizons.is_mature,
        -- Gone before the date, though the warehouse heard of it later.
        coalesce(
            outcomes.cancelled_at < horizons.as_of_at or outcomes.deleted_at < horizons.as_of_at, false
        ) as has_left_before,
        coalesce(outcomes.deleted_at < horizons.horizon_end_at, false) as is_deleted_in_horizon,
        case
            when horizons.churn_kind = 'cancellation'
                then coalesce(outcomes.cancelled_at < horizons.horizon_end_at, false)
            else not coalesce(charges_around_the_date.has_paid_in_horizon, false)
        end as has_churned,
        case
            when horizons.churn_kind = 'cancellation' then outcomes.cancelled_at
            else charges_around_the_date.last_paid_at + {{ days_long('horizons.inactivity_days') }}
        end as churn_moment_at
    from active_customers
    inner join horizons
        on active_customers.company_id = horizons.company_id
        and active_customers.as_of_date = horizons.as_of_date
    left join outcomes
        on active_customers.company_id = outcomes.company_id
        and active_customers.customer_id = outcomes.customer_id
    left join charges_around_the_date
        on active_customers.company_id = charges_around_the_date.company_id
        and active_customers.customer_id = charges_around_the_date.customer_id
        and active_customers.as_of_date = charges_around_the_date.as_of_date

),

customers_with_status as (

    select
        *,
        case
            when has_left_before then 'left_before'
            when not is_mature then 'immature'
            when churn_kind = 'cancellation' and has_churned then 'churned'
            when churn_kind = 'inactivity' and not has_churned then 'retained'
            when is_deleted_in_horizon then 'censored'
            when has_churned then 'churned'
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
        is_mature,
        case label_status when 'churned' then true when 'retained' then false end as is_churned,
        case label_status when 'churned' then churn_moment_at end as churned_at,
        observed_until
    from customers_with_status

)

select * from final
