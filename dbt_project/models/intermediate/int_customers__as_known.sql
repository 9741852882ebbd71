with

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}

),

customers as (

    select * from {{ ref('int_customers__intervals') }}

),

final as (

    select
        as_of_dates.company_id,
        customers.customer_id,
        customers.country_code,
        customers.currency,
        customers.signup_channel,
        {{ known_attribute('customers.plan_name') }},
        {{ known_attribute('customers.seats') }},
        {{ known_attribute('customers.monthly_price') }},
        customers.is_test,
        as_of_dates.as_of_date,
        as_of_dates.as_of_at,
        customers.created_at,
        {{ past_event('customers.cancelled_at') }},
        {{ known_attribute('customers.contract_end_at') }}
    from as_of_dates
    inner join customers
        on as_of_dates.company_id = customers.company_id
        and customers.known_from < as_of_dates.as_of_at
        and customers.known_to >= as_of_dates.as_of_at
        and customers.created_at < as_of_dates.as_of_at

)

select * from final
