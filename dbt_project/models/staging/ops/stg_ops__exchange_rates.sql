with

source as (

    select * from {{ source('ops', 'exchange_rates') }}

),

final as (

    select
        upper(currency) as currency,
        rate_to_eur,
        valid_from
    from source

)

select * from final
