-- A table, for the planner cannot tell how many rows it has, and the marts on it join by that.
{{
    config(
        materialized='table',
        post_hook='analyze {{ this }}',
        grants={'select': ['churn_operator', 'churn_ml']},
    )
}}

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
        {{ segment(
            'companies.segment_by',
            'customers',
            chosen_attributes('customers.attributes', 'companies.custom_attributes', is_fixed=true),
        ) }} as segment,
        {{ month_of('customers.created_at', 'companies.time_zone') }} as cohort_month
    from customers
    inner join companies
        on customers.company_id = companies.company_id

)

select * from final
