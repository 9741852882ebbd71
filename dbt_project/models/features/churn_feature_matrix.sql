{{
    config(
        contract={'enforced': false},
        on_schema_change='sync_all_columns',
        meta={'features_from': ['customer_features', 'ticket_features', 'payment_features']},
    )
}}

with

active_customers as (

    select * from {{ ref('int_customers__active') }}
    where {{ is_to_be_built() }}

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

customer_features as (

    select * from {{ ref('customer_features') }}
    where {{ is_to_be_built() }}

),

ticket_features as (

    select * from {{ ref('ticket_features') }}
    where {{ is_to_be_built() }}

),

payment_features as (

    select * from {{ ref('payment_features') }}
    where {{ is_to_be_built() }}

),

final as (

    select
        active_customers.company_id,
        active_customers.customer_id,
        active_customers.as_of_date,
        {{ matrix_columns('customer_features') }},
        {{ matrix_columns('ticket_features') }},
        {{ matrix_columns('payment_features') }}
    from active_customers
    inner join clocks
        on active_customers.company_id = clocks.company_id
    inner join customer_features
        on active_customers.company_id = customer_features.company_id
        and active_customers.customer_id = customer_features.customer_id
        and active_customers.as_of_date = customer_features.as_of_date
    inner join ticket_features
        on active_customers.company_id = ticket_features.company_id
        and active_customers.customer_id = ticket_features.customer_id
        and active_customers.as_of_date = ticket_features.as_of_date
    inner join payment_features
        on active_customers.company_id = payment_features.company_id
        and active_customers.customer_id = payment_features.customer_id
        and active_customers.as_of_date = payment_features.as_of_date

)

select * from final
