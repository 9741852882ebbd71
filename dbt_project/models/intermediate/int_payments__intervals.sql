{{
    kept_up_by_record(
        versions='stg_crm__payment_versions',
        record_id='payment_id',
        also_rests_on=['exchange_rates', 'stg_ops__exchange_rates'],
    )
}}

with

versions as (

    select * from {{ ref('stg_crm__payment_versions') }}
    where {{ is_touched('payment_id') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

exchange_rates as (

    select * from {{ ref('int_exchange_rates__by_day') }}

),

versions_with_knowledge as (

    select
        *,
        {{ knowledge_interval('payment_id') }}
    from versions

),

versions_in_force as (

    select * from versions_with_knowledge
    where not is_deleted and known_from < known_to

),

final as (

    select
        versions_in_force.company_id,
        versions_in_force.payment_id,
        versions_in_force.customer_id,
        versions_in_force.kind,
        versions_in_force.method,
        coalesce(versions_in_force.currency, companies.currency) as charged_currency,
        versions_in_force.amount + coalesce(versions_in_force.discount_amount, 0) as list_amount_charged,
        {{ in_company_currency(
            'versions_in_force.amount', 'versions_in_force.currency', 'companies.currency', 'payment_rates',
            'company_rates'
        ) }} as amount,
        coalesce({{ in_company_currency(
            'versions_in_force.discount_amount', 'versions_in_force.currency', 'companies.currency', 'payment_rates',
            'company_rates'
        ) }}, 0) as discount_amount,
        versions_in_force.failed_attempts,
        {{ utc_date('versions_in_force.issued_at') }} as issued_date,
        {{ utc_date('versions_in_force.due_at') }} as due_date,
        {{ utc_date('versions_in_force.paid_at') }} as paid_date,
        {{ utc_date('versions_in_force.failed_at') }} as failed_date,
        {{ utc_date('versions_in_force.voided_at') }} as voided_date,
        versions_in_force.known_from,
        versions_in_force.attributes_known_from,
        versions_in_force.known_to
    from versions_in_force
    inner join companies
        on versions_in_force.company_id = companies.company_id
    {{ join_exchange_rates('exchange_rates', 'versions_in_force', 'companies') }}

)

select * from final
-- A customer's records side by side, as the marts read them.
order by company_id, customer_id
