{{ kept_up_by_record(versions='stg_crm__customer_versions', record_id='customer_id') }}

with

versions as (

    select * from {{ ref('stg_crm__customer_versions') }}
    where {{ is_touched('customer_id') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

versions_with_knowledge as (

    select
        *,
        {{ knowledge_interval('customer_id') }}
    from versions

),

versions_in_force as (

    select
        *,
        -- An edit cannot have been known before it was made.
        {{ utc_date('least(updated_at, known_at)') }} as edited_date
    from versions_with_knowledge
    where not is_deleted and known_from < known_to

),

versions_with_the_one_before as (

    select
        *,
        row_number() over in_order > 1 as has_previous,
        lag(plan_name) over in_order as previous_plan_name,
        lag(currency) over in_order as previous_currency,
        lag(seats) over in_order as previous_seats,
        lag(monthly_price) over in_order as previous_monthly_price,
        lag(cancelled_at) over in_order as previous_cancelled_at
    from versions_in_force
    window in_order as (partition by company_id, customer_id order by updated_at)

),

-- Came back: the version before said that the customer had left by then, and this one says that they had not.
versions_with_returns as (

    select
        *,
        max(
            case
                when
                    {{ utc_date('previous_cancelled_at') }} <= edited_date
                    and coalesce({{ utc_date('cancelled_at') }} > edited_date, true)
                    then edited_date
            end
        ) over (partition by company_id, customer_id order by updated_at) as returned_date
    from versions_with_the_one_before

),

final as (

    select
        versions_in_force.company_id,
        versions_in_force.customer_id,
        versions_in_force.plan_name,
        versions_in_force.previous_plan_name,
        versions_in_force.country_code,
        versions_in_force.currency,
        versions_in_force.signup_channel,
        versions_in_force.seats,
        versions_in_force.previous_seats,
        versions_in_force.monthly_price,
        -- Prices in two currencies cannot be compared.
        case
            when coalesce(versions_in_force.previous_currency, '') = coalesce(versions_in_force.currency, '')
                then versions_in_force.previous_monthly_price
        end as previous_monthly_price,
        {{ chosen_attributes(
            'versions_in_force.attributes', 'companies.custom_attributes', is_fixed=true
        ) }} as fixed_attributes,
        {{ chosen_attributes(
            'versions_in_force.attributes', 'companies.custom_attributes', is_fixed=false
        ) }} as changing_attributes,
        versions_in_force.has_previous,
        versions_in_force.is_test,
        {{ utc_date('versions_in_force.created_at') }} as created_date,
        {{ utc_date('versions_in_force.cancelled_at') }} as cancelled_date,
        case
            when versions_in_force.contract_end_at >= versions_in_force.created_at
                then {{ utc_date('versions_in_force.contract_end_at') }}
        end as contract_end_date,
        versions_in_force.edited_date,
        versions_in_force.returned_date,
        versions_in_force.known_from,
        versions_in_force.attributes_known_from,
        versions_in_force.known_to
    from versions_with_returns as versions_in_force
    inner join companies
        on versions_in_force.company_id = companies.company_id

)

select * from final
-- A customer's records side by side, as the marts read them.
order by company_id, customer_id
