with

customers as (

    {{ customers_to_build('payments', ref('customer_features'), ref('stg_ops__company_entities')) }}

),

charges as (

    select * from {{ ref('int_payments__charges') }}
    where {{ is_to_be_built() }}

),

-- One expression per feature, over what was known of a customer's payments at the date.
figures as (

    select
        customers.company_id,
        customers.customer_id,
        customers.as_of_date,
        case
            when customers.is_entity_given
                then {{ count_where(in_window('charges.days_since_charge', 60)) }}
        end as payments_60d
    from customers
    left join charges
        on customers.company_id = charges.company_id
        and customers.customer_id = charges.customer_id
        and customers.as_of_date = charges.as_of_date
    group by customers.company_id, customers.customer_id, customers.as_of_date, customers.is_entity_given

),

final as (

    select
        {{ described_columns('figures') }},
        {{ feature_version('figures') }} as feature_version
    from figures

)

select * from final
