{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        full_refresh=false,
        post_hook='{{ analyze_if_written() }}',
        indexes=[{'columns': ['company_id', 'as_of_date'], 'unique': true}],
    )
}}

with

clocks as (

    select * from {{ ref('int_companies__clocks') }}
    where is_on_the_grid

),

customer_versions as (

    select * from {{ ref('stg_crm__customer_versions') }}

),

first_customers as (

    select
        company_id,
        (min(created_at) at time zone 'UTC')::date as first_date
    from customer_versions
    group by company_id

),

companies_with_history as (

    select
        clocks.company_id,
        clocks.scoring_date,
        greatest(
            first_customers.first_date,
            (clocks.scoring_date - interval '{{ var("history_months") | int }} months')::date
        ) as history_date
    from clocks
    inner join first_customers
        on clocks.company_id = first_customers.company_id

),

months as (

    select
        company_id,
        generate_series(
            date_trunc('month', history_date::timestamp) + interval '1 month',
            scoring_date::timestamp,
            interval '1 month'
        )::date as as_of_date
    from companies_with_history

),

scoring_dates as (

    select
        company_id,
        scoring_date as as_of_date
    from companies_with_history

),

{% if var('as_of_dates') %}

asked_for as (

    select
        company_id,
        unnest(array[{{ dates_as_sql(var('as_of_dates')) }}]) as as_of_date
    from companies_with_history
    {% if var('company_ids') %}
    where company_id in ({{ var('company_ids') | map('int') | join(', ') }})
    {% endif %}

),

{% endif %}

unioned as (

    select * from months

    union

    select * from scoring_dates

    {% if var('as_of_dates') %}
    union

    select asked_for.*
    from asked_for
    inner join clocks
        on asked_for.company_id = clocks.company_id
        and asked_for.as_of_date <= clocks.scoring_date
    {% endif %}

),

final as (

    select
        company_id,
        as_of_date,
        as_of_date::timestamp at time zone 'UTC' as as_of_at
    from unioned
    {% if is_incremental() %}
    where (company_id, as_of_date) not in (
        select
            already.company_id,
            already.as_of_date
        from {{ this }} as already
    )
    {% endif %}

)

select * from final
