{{
    config(
        contract={'enforced': false},
        on_schema_change='sync_all_columns',
        meta={'features_from': ['customer_features', 'ticket_features', 'payment_features']},
    )
}}

with

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
        customer_features.company_id,
        customer_features.customer_id,
        customer_features.as_of_date,
        {{ matrix_columns('customer_features') }},
        {{ matrix_columns('ticket_features') }},
        {{ matrix_columns('payment_features') }}
    from customer_features
    inner join clocks
        on customer_features.company_id = clocks.company_id
    inner join ticket_features
        on customer_features.company_id = ticket_features.company_id
        and customer_features.customer_id = ticket_features.customer_id
        and customer_features.as_of_date = ticket_features.as_of_date
    inner join payment_features
        on customer_features.company_id = payment_features.company_id
        and customer_features.customer_id = payment_features.customer_id
        and customer_features.as_of_date = payment_features.as_of_date
    -- Who can churn: whoever is there, and where churn is silence, whoever is not silent already.
    where
        clocks.churn_kind = 'cancellation'
        or payment_features.days_since_last_payment <= clocks.inactivity_days

)

select * from final
