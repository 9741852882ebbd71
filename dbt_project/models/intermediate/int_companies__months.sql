with

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

customers as (

    select * from {{ ref('stg_crm__customers') }}

),

first_months as (

    select
        customers.company_id,
        clocks.time_zone,
        clocks.observed_until,
        {{ month_of('min(customers.created_at)', 'clocks.time_zone') }} as first_month
    from customers
    inner join clocks
        on customers.company_id = clocks.company_id
    group by customers.company_id, clocks.time_zone, clocks.observed_until

),

months as (

    select
        company_id,
        time_zone,
        observed_until,
        generate_series(first_month::timestamp, observed_until at time zone time_zone, interval '1 month')::date
            as month
    from first_months

),

final as (

    select
        company_id,
        month
    from months
    where (month + interval '1 month') at time zone time_zone <= observed_until

)

select * from final
