{{
    config(
        materialized='table',
        indexes=[{'columns': ['currency', 'rate_date'], 'unique': true}],
        post_hook='analyze {{ this }}',
    )
}}

with

rates as (

    select * from {{ ref('int_exchange_rates__in_euros') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

-- The last rate holds for as long as a payment may be issued ahead of its time.
last_day as (

    select (greatest(max(clock_at), {{ now_as_sql() }}) at time zone 'UTC')::date + 366 as last_date
    from companies

),

final as (

    select
        rates.currency,
        rates.rate_to_eur,
        generate_series(
            rates.valid_from::timestamp,
            least(rates.valid_before - 1, last_day.last_date)::timestamp,
            interval '1 day'
        )::date as rate_date
    from rates
    cross join last_day

)

select * from final
