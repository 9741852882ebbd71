-- A table, for the planner cannot tell how many rows it has, and the marts on it join by that.
{{ config(materialized='table', post_hook='analyze {{ this }}') }}

with

customers as (

    select * from {{ ref('stg_crm__customers') }}
    where not is_test

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

settings as (

    select * from {{ ref('int_churn__settings') }}

),

leavings as (

    select * from {{ ref('int_customers__leavings') }}

),

paying_spells as (

    select * from {{ ref('int_customers__paying_spells') }}

),

leavings_with_arrivals as (

    select
        company_id,
        customer_id,
        left_at,
        lag(returned_at) over (partition by company_id, customer_id order by left_at) as came_back_at
    from leavings

),

newest_returns as (

    select
        company_id,
        customer_id,
        max(returned_at) as returned_at
    from leavings
    group by company_id, customer_id

),

spells_until_cancelled as (

    select
        customers.company_id,
        customers.customer_id,
        coalesce(leavings_with_arrivals.came_back_at, customers.created_at) as begins_at,
        leavings_with_arrivals.left_at as ends_at
    from customers
    inner join leavings_with_arrivals
        on customers.company_id = leavings_with_arrivals.company_id
        and customers.customer_id = leavings_with_arrivals.customer_id

    union all

    select
        customers.company_id,
        customers.customer_id,
        coalesce(newest_returns.returned_at, customers.created_at) as begins_at,
        'infinity'::timestamptz as ends_at
    from customers
    left join newest_returns
        on customers.company_id = newest_returns.company_id
        and customers.customer_id = newest_returns.customer_id
    where coalesce(newest_returns.returned_at < 'infinity', true)

),

-- There is whoever pays and has not cancelled.
spells_until_silent as (

    select
        spells_until_cancelled.company_id,
        spells_until_cancelled.customer_id,
        greatest(spells_until_cancelled.begins_at, paying_spells.begins_at) as begins_at,
        least(spells_until_cancelled.ends_at, paying_spells.ends_at) as ends_at
    from spells_until_cancelled
    inner join paying_spells
        on spells_until_cancelled.company_id = paying_spells.company_id
        and spells_until_cancelled.customer_id = paying_spells.customer_id
        and spells_until_cancelled.begins_at < paying_spells.ends_at
        and spells_until_cancelled.ends_at > paying_spells.begins_at

),

spells as (

    select spells_until_cancelled.*
    from spells_until_cancelled
    left join settings
        on spells_until_cancelled.company_id = settings.company_id
    where settings.churn_kind is distinct from 'inactivity'

    union all

    select * from spells_until_silent

),

final as (

    select
        spells.company_id,
        spells.customer_id,
        {{ month_of('spells.begins_at', 'clocks.time_zone') }} as begins_month,
        case
            when spells.ends_at <= clocks.observed_until then {{ month_of('spells.ends_at', 'clocks.time_zone') }}
        end as ends_month,
        spells.begins_at,
        case when spells.ends_at <= clocks.observed_until then spells.ends_at end as ends_at
    from spells
    inner join clocks
        on spells.company_id = clocks.company_id
    where
        spells.begins_at < spells.ends_at
        and spells.begins_at <= clocks.observed_until

)

select * from final
