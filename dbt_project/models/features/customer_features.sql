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

present_customers as (

    select * from customers
    where
        days_since_cancelled is null
        and not is_test

),

-- One expression per feature. What the YAML does not describe stays here. Changes are counted for one customer at a
-- time; that nothing changed is known where the attributes are.
figures as (

    select
        present_customers.company_id,
        present_customers.customer_id,
        present_customers.as_of_date,
        present_customers.country_code as country,
        present_customers.signup_channel,
        {{ segment('companies.segment_by', 'present_customers', 'present_customers.fixed_attributes') }} as segment,
        present_customers.plan_name,
        present_customers.seats,
        present_customers.days_since_created as tenure_days,
        present_customers.contract_end_date - present_customers.as_of_date as days_to_contract_end,
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
                present_customers.monthly_price - coalesce(figures_of_changes.price_added_365d, 0), 0
            )
        )::double precision as price_against_year_ago,
        coalesce(present_customers.currency <> companies.currency, false) as is_billed_in_foreign_currency,
        case
            when present_customers.are_attributes_known then present_customers.days_since_returned is not null
        end as is_returned,
        present_customers.fixed_attributes,
        coalesce(present_customers.changing_attributes, '{}') as changing_attributes,
        figures_of_changes.*
    from present_customers
    inner join companies
        on present_customers.company_id = companies.company_id
    left join rates_at_dates
        on present_customers.company_id = rates_at_dates.company_id
        and present_customers.as_of_date = rates_at_dates.as_of_date
        and present_customers.currency = rates_at_dates.from_currency
    left join lateral (
        select
            {{ count_where('is_plan_change') }} as plan_changes_365d,
            {{ count_where('is_up and ' ~ in_window('days_since_changed', 90)) }} as changes_up_90d,
            {{ count_where('is_up') }} as changes_up_365d,
            {{ count_where('is_down and ' ~ in_window('days_since_changed', 90)) }} as changes_down_90d,
            {{ count_where('is_down') }} as changes_down_365d,
            coalesce(sum(seats_added), 0)::integer as seats_added_365d,
            sum(price_added) as price_added_365d,
            min(days_since_changed) as days_since_last_change,
            min(days_since_changed) filter (where is_up) as days_since_last_change_up,
            min(days_since_changed) filter (where is_down) as days_since_last_change_down
        from changes
        where
            changes.company_id = present_customers.company_id
            and changes.customer_id = present_customers.customer_id
            and changes.as_of_date = present_customers.as_of_date
            and {{ in_window('changes.days_since_changed', 365) }}
    ) as figures_of_changes on present_customers.are_attributes_known

),

final as (

    select
        {{ described_columns('features') }},
        {{ feature_version('features') }} as feature_version,
        {{ rates_version('features.as_of_date') }} as rates_version
    from figures as features

)

select * from final
