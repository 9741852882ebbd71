with

rates_with_end as (

    select * from {{ ref('int_exchange_rates__in_euros') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

final as (

    select
        companies.company_id,
        from_rates.currency as from_currency,
        companies.currency as to_currency,
        from_rates.rate_to_eur / to_rates.rate_to_eur as rate,
        greatest(from_rates.valid_from, to_rates.valid_from) as valid_from,
        least(from_rates.valid_before, to_rates.valid_before) as valid_before
    from companies
    inner join rates_with_end as to_rates
        on companies.currency = to_rates.currency
    inner join rates_with_end as from_rates
        on to_rates.currency <> from_rates.currency
        and to_rates.valid_from < from_rates.valid_before
        and from_rates.valid_from < to_rates.valid_before

)

select * from final
