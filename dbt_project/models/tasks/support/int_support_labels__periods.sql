-- A ticket that a load brings or changes moves the labels of the dates within a horizon before it was opened.
{{
    config(
        schema='intermediate',
        grants={'select': ['churn_operator']},
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

tickets_with_new_versions as (

    select distinct
        ticket_versions.company_id,
        ticket_versions.ticket_id
    from ticket_versions
    inner join companies_with_new_loads
        on ticket_versions.company_id = companies_with_new_loads.company_id
        and ticket_versions.load_id > companies_with_new_loads.labelled_until_load_id

),

customers_with_new_versions as (

    select distinct
        customer_versions.company_id,
        customer_versions.customer_id
    from customer_versions
    inner join companies_with_new_loads
        on customer_versions.company_id = companies_with_new_loads.company_id
        and customer_versions.load_id > companies_with_new_loads.labelled_until_load_id

),

-- Of what has a new version every one counts: one that deletes a ticket does not say when it was opened, and one that
-- brings a customer back does not say when the deletion was.
days_of_changes as (

    select distinct
        ticket_versions.company_id,
        {{ utc_date('ticket_versions.opened_at') }} as happened_date,
        {{ utc_date('ticket_versions.opened_at') }} as felt_until_date
    from ticket_versions
    inner join tickets_with_new_versions
        on ticket_versions.company_id = tickets_with_new_versions.company_id
        and ticket_versions.ticket_id = tickets_with_new_versions.ticket_id
    where ticket_versions.opened_at is not null

    union

    -- A customer who is deleted is gone at every later date.
    select
        customer_versions.company_id,
        {{ utc_date('customer_versions.updated_at') }} as happened_date,
        'infinity'::date as felt_until_date
    from customer_versions
    inner join customers_with_new_versions
        on customer_versions.company_id = customers_with_new_versions.company_id
        and customer_versions.customer_id = customers_with_new_versions.customer_id
    where customer_versions.is_deleted

),

final as (

    {{ examined_periods(labels='support_labels') }}

)

select * from final
