-- No view: one that stands on the feature marts would be dropped whenever they are rebuilt in full.
{{ config(materialized='ephemeral') }}

with

customer_features as (

    select * from {{ ref('customer_features') }}

),

payment_features as (

    select * from {{ ref('payment_features') }}

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

final as (

    select
        customer_features.company_id,
        customer_features.customer_id,
        customer_features.as_of_date
    from customer_features
    inner join clocks
        on customer_features.company_id = clocks.company_id
    inner join payment_features
        on customer_features.company_id = payment_features.company_id
        and customer_features.customer_id = payment_features.customer_id
        and customer_features.as_of_date = payment_features.as_of_date
    where
        clocks.churn_kind = 'cancellation'
        or payment_features.days_since_last_payment <= clocks.inactivity_days

)

select * from final
