with

customers as (

    select * from {{ ref('int_customers__as_known') }}
    where {{ is_to_be_built() }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

present_customers as (

    select * from customers
    where
        days_since_cancelled is null
        and not is_test

),

final as (

    select
        present_customers.company_id,
        present_customers.customer_id,
        present_customers.as_of_date,
        present_customers.country_code as country,
        present_customers.signup_channel,
        present_customers.plan_name,
        present_customers.seats,
        present_customers.days_since_created as tenure_days,
        present_customers.contract_end_date - present_customers.as_of_date as days_to_contract_end,
        present_customers.monthly_price::double precision as monthly_price,
        (present_customers.monthly_price / nullif(present_customers.seats, 0))::double precision as price_per_seat,
        coalesce(present_customers.currency <> companies.currency, false) as is_billed_in_foreign_currency,
        {{ feature_version('present_customers') }} as feature_version
    from present_customers
    inner join companies
        on present_customers.company_id = companies.company_id

)

select * from final
