with

versions as (

    select * from {{ ref('stg_crm__customer_versions') }}

),

versions_with_knowledge as (

    select
        *,
        {{ knowledge_interval('customer_id') }}
    from versions

),

final as (

    select
        company_id,
        customer_id,
        plan_name,
        country_code,
        currency,
        signup_channel,
        seats,
        monthly_price,
        is_test,
        {{ utc_date('created_at') }} as created_date,
        {{ utc_date('cancelled_at') }} as cancelled_date,
        {{ utc_date('contract_end_at') }} as contract_end_date,
        known_from,
        attributes_known_from,
        known_to
    from versions_with_knowledge
    where not is_deleted and known_from < known_to

)

select * from final
