with

customers as (

    select * from {{ ref('stg_crm__customers') }}
    where not is_test

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

final as (

    select
        customers.company_id,
        customers.customer_id,
        case companies.segment_by
            when 'country' then customers.country_code
            when 'signup_channel' then customers.signup_channel
            else customers.attributes ->> companies.segment_by
        end as segment,
        {{ month_of('customers.created_at') }} as cohort_month
    from customers
    inner join companies
        on customers.company_id = companies.company_id

)

select * from final
