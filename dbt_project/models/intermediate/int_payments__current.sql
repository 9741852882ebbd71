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

payments as (

    select distinct on (company_id, payment_id) *
    from versions
    order by company_id asc, payment_id asc, updated_at desc

),

final as (

    select
        payments.company_id,
        payments.payment_id,
        payments.customer_id,
        payments.kind,
        payments.status,
        payments.method,
        payments.currency as paid_in_currency,
        companies.currency,
        companies.time_zone,
        payments.amount as amount_as_paid,
        payments.discount_amount,
        {{ in_company_currency(
            'payments.amount', 'payments.currency', 'companies.currency', 'payment_rates', 'company_rates'
        ) }} as amount,
        case payments.kind when 'refund' then -1 else 1 end
        * {{ in_company_currency(
            'payments.amount', 'payments.currency', 'companies.currency', 'payment_rates', 'company_rates'
        ) }} as revenue,
        payments.issued_at,
        payments.due_at,
        payments.paid_at,
        payments.failed_at,
        payments.voided_at
    from payments
    inner join companies
        on payments.company_id = companies.company_id
    {{ join_exchange_rates('exchange_rates', 'payments', 'companies') }}
    where not payments.is_deleted

)

select * from final
-- A customer's payments side by side, as the marts read them.
order by company_id, customer_id
