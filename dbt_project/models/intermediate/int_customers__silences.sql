-- A table, for a view would go whenever the table that it stands on is made again.
{{ config(materialized='table', post_hook='analyze {{ this }}') }}

with

settings as (

    select * from {{ ref('int_churn__settings') }}
    where churn_kind = 'inactivity'

),

versions as (

    select * from {{ ref('stg_crm__customer_versions') }}

),

paying_spells as (

    select * from {{ ref('int_customers__paying_spells') }}

),

customers as (

    select distinct
        versions.company_id,
        versions.customer_id
    from versions
    inner join settings
        on versions.company_id = settings.company_id

),

before_the_first_payment as (

    select
        customers.company_id,
        customers.customer_id,
        '-infinity'::timestamptz as left_at,
        coalesce(min(paying_spells.begins_at), 'infinity'::timestamptz) as returned_at
    from customers
    left join paying_spells
        on customers.company_id = paying_spells.company_id
        and customers.customer_id = paying_spells.customer_id
    group by customers.company_id, customers.customer_id

),

after_spells as (

    select
        company_id,
        customer_id,
        ends_at as left_at,
        coalesce(
            lead(begins_at) over (partition by company_id, customer_id order by begins_at),
            'infinity'::timestamptz
        ) as returned_at
    from paying_spells

),

final as (

    select * from before_the_first_payment

    union all

    select * from after_spells
    where left_at < 'infinity'

)

select * from final
