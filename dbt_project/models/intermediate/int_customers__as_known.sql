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
        {{ known_attribute('customers.plan_name', 'as_of_dates.as_of_at') }} as plan_name,
        {{ known_attribute('customers.seats', 'as_of_dates.as_of_at') }} as seats,
        {{ known_attribute('customers.monthly_price', 'as_of_dates.as_of_at') }} as monthly_price,
        customers.fixed_attributes,
        {{ known_attribute('customers.changing_attributes', 'as_of_dates.as_of_at') }} as changing_attributes,
        {{ days_since('customers.created_date', 'as_of_dates.as_of_date') }} as days_since_created,
        {{ days_since('customers.cancelled_date', 'as_of_dates.as_of_date') }} as days_since_cancelled,
        {{ days_since('customers.returned_date', 'as_of_dates.as_of_date') }} as days_since_returned,
        customers.is_test,
        customers.attributes_known_from < as_of_dates.as_of_at as are_attributes_known,
        as_of_dates.as_of_date,
        {{ known_attribute('customers.contract_end_date', 'as_of_dates.as_of_at') }} as contract_end_date
    from as_of_dates
    inner join customers
        on as_of_dates.company_id = customers.company_id
        and {{ is_in_force('customers', 'as_of_dates.as_of_at') }}
        and customers.created_date < as_of_dates.as_of_date

)

select * from final
