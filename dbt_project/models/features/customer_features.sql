with

customers as (

    select * from {{ ref('int_customers__as_known') }}
    where {{ is_to_be_built() }}

),

changes as (

    select * from {{ ref('int_customers__changes_as_known') }}
    where {{ is_to_be_built() }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

exchange_rates as (

    select * from {{ ref('int_exchange_rates') }}

),

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}
    where {{ is_to_be_built() }}

),

-- The rate of the day before the date: the last one that was known.
rates_at_dates as (

    select
        as_of_dates.company_id,
        as_of_dates.as_of_date,
        exchange_rates.from_currency,
        exchange_rates.rate
    from as_of_dates
    inner join exchange_rates
        on as_of_dates.company_id = exchange_rates.company_id
        and as_of_dates.as_of_date > exchange_rates.valid_from
        and as_of_dates.as_of_date <= exchange_rates.valid_before

),

changes_per_customer as (

    select
        company_id,
        customer_id,
        as_of_date,
        count(*) filter (where is_plan_change) as plan_changes_365d,
        {%- for days in [90, 365] %}
        count(*) filter (where is_up and {{ in_window('days_since_changed', days) }}) as changes_up_{{ days }}d,
        count(*) filter (where is_down and {{ in_window('days_since_changed', days) }}) as changes_down_{{ days }}d,
        {%- endfor %}
        sum(seats_added) as seats_added_365d,
        sum(price_added) as price_added_365d,
        min(days_since_changed) as days_since_last_change,
        min(days_since_changed) filter (where is_up) as days_since_last_change_up,
        min(days_since_changed) filter (where is_down) as days_since_last_change_down
    from changes
    where {{ in_window('days_since_changed', 365) }}
    group by company_id, customer_id, as_of_date

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
        {{ segment('present_customers', 'present_customers.fixed_attributes') }} as segment,
        present_customers.plan_name,
        present_customers.seats,
        present_customers.days_since_created as tenure_days,
        present_customers.contract_end_date - present_customers.as_of_date as days_to_contract_end,
        {%- for name in [
            'plan_changes_365d', 'changes_up_90d', 'changes_up_365d', 'changes_down_90d', 'changes_down_365d',
            'seats_added_365d',
        ] %}
        case
            when present_customers.are_attributes_known
                then coalesce(changes_per_customer.{{ name }}, 0)::integer
        end as {{ name }},
        {%- endfor %}
        changes_per_customer.days_since_last_change,
        changes_per_customer.days_since_last_change_up,
        changes_per_customer.days_since_last_change_down,
        present_customers.monthly_price::double precision as monthly_price,
        case
            when coalesce(present_customers.currency, companies.currency) = companies.currency
                then present_customers.monthly_price
            else round(present_customers.monthly_price * rates_at_dates.rate, 4)
        end::double precision as monthly_price_in_company_currency,
        (present_customers.monthly_price / nullif(present_customers.seats, 0))::double precision as price_per_seat,
        -- Without what the year's changes added it is the price of a year ago.
        (
            present_customers.monthly_price / nullif(
                present_customers.monthly_price - coalesce(changes_per_customer.price_added_365d, 0), 0
            )
        )::double precision as price_against_year_ago,
        coalesce(present_customers.currency <> companies.currency, false) as is_billed_in_foreign_currency,
        case
            when present_customers.are_attributes_known then present_customers.days_since_returned is not null
        end as is_returned,
        present_customers.fixed_attributes,
        coalesce(present_customers.changing_attributes, '{}') as changing_attributes,
        {{ feature_version('present_customers') }} as feature_version,
        {{ rates_version('present_customers.as_of_date') }} as rates_version
    from present_customers
    inner join companies
        on present_customers.company_id = companies.company_id
    left join rates_at_dates
        on present_customers.company_id = rates_at_dates.company_id
        and present_customers.as_of_date = rates_at_dates.as_of_date
        and present_customers.currency = rates_at_dates.from_currency
    left join changes_per_customer
        on present_customers.company_id = changes_per_customer.company_id
        and present_customers.customer_id = changes_per_customer.customer_id
        and present_customers.as_of_date = changes_per_customer.as_of_date

)

select * from final
