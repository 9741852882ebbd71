{{
    config(
        materialized='table',
        indexes=[{'columns': ['currency', 'rate_date'], 'unique': true}],
        post_hook='analyze {{ this }}',
    )
}}

with

seeded_rates as (

    select * from {{ ref('exchange_rates') }}

),

loaded_rates as (

    select * from {{ ref('stg_ops__exchange_rates') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

rates as (

    select
        currency,
        valid_from,
        rate_to_eur
    from loaded_rates

    union all

    select
        currency,
        valid_from,
        rate_to_eur
    from seeded_rates
    where currency not in (select loaded_rates.currency from loaded_rates)

),

-- A rate holds until the currency's next one; the last one for as long as a payment may be issued ahead of its time.
last_day as (

    select (greatest(max(clock_at), {{ now_as_sql() }}) at time zone 'UTC')::date + 366 as last_date
    from companies

),

rates_with_end as (

    select
        rates.currency,
        rates.rate_to_eur,
        rates.valid_from,
        coalesce(
            lead(rates.valid_from) over (partition by rates.currency order by rates.valid_from) - 1,
            last_day.last_date
        ) as valid_until
    from rates
    cross join last_day

),

final as (

    select
        currency,
        rate_to_eur,
        generate_series(valid_from::timestamp, valid_until::timestamp, interval '1 day')::date as rate_date
    from rates_with_end

)

select * from final
