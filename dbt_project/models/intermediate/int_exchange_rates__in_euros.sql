with

seeded_rates as (

    select * from {{ ref('exchange_rates') }}

),

loaded_rates as (

    select * from {{ ref('stg_ops__exchange_rates') }}

),

rates as (

    select
        currency,
        rate_to_eur,
        valid_from
    from loaded_rates

    union all

    select
        currency,
        rate_to_eur,
        valid_from
    from seeded_rates
    where currency not in (select loaded_rates.currency from loaded_rates)

),

final as (

    select
        currency,
        rate_to_eur,
        valid_from,
        coalesce(
            lead(valid_from) over (partition by currency order by valid_from),
            'infinity'::date
        ) as valid_before
    from rates

)

select * from final
