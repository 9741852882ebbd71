-- A ticket that a load brings or changes moves the labels of the dates within a horizon before it was opened.
{{
    config(
        schema='intermediate',
        materialized='incremental',
        contract={'enforced': false},
        incremental_strategy='delete_period_insert',
        on_schema_change='append_new_columns',
        post_hook='{{ analyze_if_written() }}',
        indexes=[{'columns': ['company_id', 'as_of_date'], 'unique': true}],
    )
}}

-- depends_on: {{ ref('support_population') }}

with

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

settings as (

    select * from {{ ref('stg_ops__company_tasks') }}
    where task = 'support' and is_active

),

labelled_periods as (

    {{ labelled_periods() }}

),

companies_with_new_loads as (

    {{ companies_with_new_loads() }}

),

ticket_versions as (

    select * from {{ ref('stg_crm__ticket_versions') }}

),

customer_versions as (

    select * from {{ ref('stg_crm__customer_versions') }}

),

days_of_changes as (

    select distinct
        ticket_versions.company_id,
        {{ utc_date('ticket_versions.opened_at') }} as happened_date,
        {{ utc_date('ticket_versions.opened_at') }} as felt_until_date
    from ticket_versions
    inner join companies_with_new_loads
        on ticket_versions.company_id = companies_with_new_loads.company_id
        and ticket_versions.load_id > companies_with_new_loads.labelled_until_load_id

    union

    -- A customer who is deleted is gone at every later date.
    select
        customer_versions.company_id,
        {{ utc_date('customer_versions.updated_at') }} as happened_date,
        'infinity'::date as felt_until_date
    from customer_versions
    inner join companies_with_new_loads
        on customer_versions.company_id = companies_with_new_loads.company_id
        and customer_versions.load_id > companies_with_new_loads.labelled_until_load_id
    where customer_versions.is_deleted

),

final as (

    {{ examined_periods(labels='support_labels') }}

)

select * from final
