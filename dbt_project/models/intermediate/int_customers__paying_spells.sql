-- A table, for the planner cannot tell how many rows it has, and the labels join by that.
{{ config(materialized='table', post_hook='analyze {{ this }}') }}

with

settings as (

    select * from {{ ref('int_churn__settings') }}

),

companies_that_count_silence as (

    select company_id from settings
    where churn_kind = 'inactivity'

),

bills as (

    select
        payments.company_id,
        payments.customer_id,
        payments.payment_id,
        payments.issued_at,
        payments.due_at,
        payments.paid_at
    from {{ ref('stg_crm__payments') }} as payments
    inner join companies_that_count_silence
        on payments.company_id = companies_that_count_silence.company_id
    where {{ is_bill('payments') }}

),

versions as (

    select versions.*
    from {{ ref('stg_crm__customer_versions') }} as versions
    inner join companies_that_count_silence
        on versions.company_id = companies_that_count_silence.company_id

),

terms as (

    {{ terms('versions', ['company_id', 'customer_id']) }}

),

pauses as (

    {{ pauses('versions', ['company_id', 'customer_id']) }}

),

final as (

    {{ paying_spells('bills', 'terms', 'pauses', 'settings', ['company_id', 'customer_id']) }}

)

select * from final
