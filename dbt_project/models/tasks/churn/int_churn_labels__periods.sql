-- What came with the loads since the labels were made is laid beside what was known then: the moments at which the
-- two differ are the only ones whose labels can move.
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

-- depends_on: {{ ref('churn_population') }}

with

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

settings as (

    select * from {{ ref('int_churn__settings') }}

),

customer_versions as (

    select * from {{ ref('stg_crm__customer_versions') }}

),

payment_versions as (

    select * from {{ ref('stg_crm__payment_versions') }}

),

labelled_periods as (

    {{ labelled_periods() }}

),

companies_to_look_at as (

    {{ companies_with_new_loads() }}

),

companies_with_new_loads as (

    select
        companies_to_look_at.company_id,
        settings.churn_kind,
        companies_to_look_at.labelled_until_load_id
    from companies_to_look_at
    inner join settings
        on companies_to_look_at.company_id = settings.company_id

),

new_loads as (

    select
        count(*) as companies,
        count(*) filter (where churn_kind = 'inactivity') as companies_that_count_silence
    from companies_with_new_loads

),

-- With nothing loaded no version is read: the condition without a column is looked at first, here and below.
customers_with_new_versions as materialized (

    select distinct
        customer_versions.company_id,
        customer_versions.customer_id
    from customer_versions
    inner join companies_with_new_loads
        on customer_versions.company_id = companies_with_new_loads.company_id
        and customer_versions.load_id > companies_with_new_loads.labelled_until_load_id
    where (select new_loads.companies from new_loads) > 0

),

their_versions as materialized (

    select
        customer_versions.*,
        companies_with_new_loads.churn_kind,
        customer_versions.load_id <= companies_with_new_loads.labelled_until_load_id as was_labelled
    from customer_versions
    inner join customers_with_new_versions
        on customer_versions.company_id = customers_with_new_versions.company_id
        and customer_versions.customer_id = customers_with_new_versions.customer_id
    inner join companies_with_new_loads
        on customer_versions.company_id = companies_with_new_loads.company_id
    where (select new_loads.companies from new_loads) > 0

),

their_labelled_versions as (

    select * from their_versions
    where was_labelled

),

priced_versions as (

    select * from their_versions
    where churn_kind = 'downgrade'

),

labelled_priced_versions as (

    select * from their_labelled_versions
    where churn_kind = 'downgrade'

),

payments_with_new_versions as materialized (

    select distinct
        payment_versions.company_id,
        payment_versions.payment_id
    from payment_versions
    inner join companies_with_new_loads
        on payment_versions.company_id = companies_with_new_loads.company_id
        and payment_versions.load_id > companies_with_new_loads.labelled_until_load_id
    where
        companies_with_new_loads.churn_kind = 'inactivity'
        and (select new_loads.companies_that_count_silence from new_loads) > 0

),

-- A deleted payment comes without its customer: an earlier version says whose it was.
customers_who_may_be_silent as materialized (

    select
        payment_versions.company_id,
        payment_versions.customer_id
    from payment_versions
    inner join payments_with_new_versions
        on payment_versions.company_id = payments_with_new_versions.company_id
        and payment_versions.payment_id = payments_with_new_versions.payment_id
    where
        payment_versions.customer_id is not null
        and (select new_loads.companies_that_count_silence from new_loads) > 0

    union

    select
        company_id,
        customer_id
    from their_versions
    where churn_kind = 'inactivity'

),

payments_of_customers as materialized (

    select distinct
        payment_versions.company_id,
        payment_versions.payment_id
    from payment_versions
    inner join customers_who_may_be_silent
        on payment_versions.company_id = customers_who_may_be_silent.company_id
        and payment_versions.customer_id = customers_who_may_be_silent.customer_id
    where (select new_loads.companies_that_count_silence from new_loads) > 0

),

versions_of_payments as materialized (

    select
        payment_versions.*,
        payment_versions.load_id <= companies_with_new_loads.labelled_until_load_id as was_labelled
    from payment_versions
    inner join payments_of_customers
        on payment_versions.company_id = payments_of_customers.company_id
        and payment_versions.payment_id = payments_of_customers.payment_id
    inner join companies_with_new_loads
        on payment_versions.company_id = companies_with_new_loads.company_id
    where (select new_loads.companies_that_count_silence from new_loads) > 0

),

labelled_versions_of_payments as (

    select * from versions_of_payments
    where was_labelled

),

versions_of_terms as materialized (

    select
        customer_versions.*,
        customer_versions.load_id <= companies_with_new_loads.labelled_until_load_id as was_labelled
    from customer_versions
    inner join customers_who_may_be_silent
        on customer_versions.company_id = customers_who_may_be_silent.company_id
        and customer_versions.customer_id = customers_who_may_be_silent.customer_id
    inner join companies_with_new_loads
        on customer_versions.company_id = companies_with_new_loads.company_id
    where (select new_loads.companies_that_count_silence from new_loads) > 0

),

labelled_versions_of_terms as (

    select * from versions_of_terms
    where was_labelled

),

{% for moment, versions, prices, payments, terms_versions in [
    ('now', 'their_versions', 'priced_versions', 'versions_of_payments', 'versions_of_terms'),
    (
        'labelled', 'their_labelled_versions', 'labelled_priced_versions', 'labelled_versions_of_payments',
        'labelled_versions_of_terms'
    ),
] %}
bills_{{ moment }} as (

    {{ bills(payments) }}

),

terms_{{ moment }} as (

    {{ terms(terms_versions, ['company_id', 'customer_id']) }}

),

pauses_{{ moment }} as (

    {{ pauses(terms_versions, ['company_id', 'customer_id']) }}

),

paying_spells_{{ moment }} as (

    {{ paying_spells(
        'bills_' ~ moment, 'terms_' ~ moment, 'pauses_' ~ moment, 'settings', ['company_id', 'customer_id']
    ) }}

),

outcomes_{{ moment }} as (

    select
        company_id,
        customer_id,
        'left' as outcome,
        null::numeric as monthly_price,
        left_at as happened_at
    from (
        {{ leavings(versions) }}
    ) as leavings

    union all

    select
        company_id,
        customer_id,
        'returned' as outcome,
        null::numeric as monthly_price,
        returned_at as happened_at
    from (
        {{ leavings(versions) }}
    ) as leavings

    union all

    select
        company_id,
        customer_id,
        'deleted' as outcome,
        null::numeric as monthly_price,
        deleted_at as happened_at
    from (
        {{ deletions(versions) }}
    ) as deletions

    union all

    select
        company_id,
        customer_id,
        coalesce(currency, '') as outcome,
        monthly_price,
        begins_at as happened_at
    from (
        {{ price_spells(prices) }}
    ) as price_spells

    union all

    select
        company_id,
        customer_id,
        'pays' as outcome,
        null::numeric as monthly_price,
        begins_at as happened_at
    from paying_spells_{{ moment }}

    union all

    select
        company_id,
        customer_id,
        'silent' as outcome,
        null::numeric as monthly_price,
        ends_at as happened_at
    from paying_spells_{{ moment }}

),

{% endfor %}
changes as (

    (
        select * from outcomes_now
        except
        select * from outcomes_labelled
    )

    union all

    (
        select * from outcomes_labelled
        except
        select * from outcomes_now
    )

),

-- A customer who has left is gone at every later date.
days_of_changes as (

    select distinct
        company_id,
        {{ utc_date('happened_at') }} as happened_date,
        'infinity'::date as felt_until_date
    from changes

),

final as (

    {{ examined_periods(labels='churn_labels') }}

)

select * from final
