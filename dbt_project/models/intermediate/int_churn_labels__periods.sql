-- What came with the loads since the labels were made is laid beside what was known then: the moments at which the
-- two differ are the only ones whose labels can move.
{{
    config(
        materialized='incremental',
        incremental_strategy='delete_period_insert',
        on_schema_change='append_new_columns',
        post_hook='{{ analyze_if_written() }}',
        indexes=[{'columns': ['company_id', 'as_of_date'], 'unique': true}],
    )
}}

-- depends_on: {{ ref('churn_feature_matrix') }}
{%- set labels_version = sql_version('model.churn_warehouse.churn_labels') if execute else '' %}

with

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

customer_versions as (

    select * from {{ ref('stg_crm__customer_versions') }}

),

payment_versions as (

    select * from {{ ref('stg_crm__payment_versions') }}

),

labelled_periods as (

    select
        company_id,
        as_of_date,
        labelled_until_load_id,
        labelled_on,
        is_recorded
    {% if is_incremental() -%}
    from {{ this }}
    {%- else -%}
    from (
        values (null::int, null::date, null::bigint, null::text, null::boolean)
    ) as none_yet (company_id, as_of_date, labelled_until_load_id, labelled_on, is_recorded)
    {%- endif %}

),

companies_with_new_loads as (

    select
        clocks.company_id,
        clocks.churn_kind,
        clocks.inactivity_days,
        min(labelled_periods.labelled_until_load_id) as labelled_until_load_id
    from clocks
    inner join labelled_periods
        on clocks.company_id = labelled_periods.company_id
    group by clocks.company_id, clocks.churn_kind, clocks.inactivity_days, clocks.settled_load_id
    having min(labelled_periods.labelled_until_load_id) < clocks.settled_load_id

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

versions_of_payments as materialized (

    select
        payment_versions.*,
        payment_versions.load_id <= companies_with_new_loads.labelled_until_load_id as was_labelled
    from payment_versions
    inner join payments_with_new_versions
        on payment_versions.company_id = payments_with_new_versions.company_id
        and payment_versions.payment_id = payments_with_new_versions.payment_id
    inner join companies_with_new_loads
        on payment_versions.company_id = companies_with_new_loads.company_id
    where (select new_loads.companies_that_count_silence from new_loads) > 0

),

labelled_versions_of_payments as (

    select * from versions_of_payments
    where was_labelled

),

{% for name, versions, prices, payments in [
    ('outcomes_now', 'their_versions', 'priced_versions', 'versions_of_payments'),
    ('outcomes_labelled', 'their_labelled_versions', 'labelled_priced_versions', 'labelled_versions_of_payments'),
] %}
{{ name }} as (

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
        'paid ' || payment_id as outcome,
        null::numeric as monthly_price,
        paid_at as happened_at
    from (
        {{ successful_charges(payments) }}
    ) as charges

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

-- A payment counts for as long as its company waits for the next; a customer who has left is gone at every later date.
days_of_changes as (

    select distinct
        changes.company_id,
        {{ utc_date('changes.happened_at') }} as happened_date,
        case
            when changes.outcome like 'paid %'
                then {{ utc_date('changes.happened_at') }} + companies_with_new_loads.inactivity_days
            else 'infinity'::date
        end as felt_until_date
    from changes
    inner join companies_with_new_loads
        on changes.company_id = companies_with_new_loads.company_id

),

periods as (

    select
        as_of_dates.company_id,
        as_of_dates.as_of_date,
        clocks.settled_load_id as examined_until_load_id,
        concat(
            '{{ labels_version }} ', clocks.settings_version, ' ', clocks.downgrade_share, ' ',
            clocks.horizon_days, ' ', extract(epoch from clocks.first_loaded_at), ' ',
            {{ is_mature('as_of_dates') }}
        ) as examined_on,
        -- Before its horizon is over, a label only says whether the customer had left before the date.
        as_of_dates.as_of_date + case when {{ is_mature('as_of_dates') }} then clocks.horizon_days else 0 end
            as looks_until_date
    from as_of_dates
    inner join clocks
        on as_of_dates.company_id = clocks.company_id

),

final as (

    select
        periods.company_id,
        periods.as_of_date,
        labelled_periods.labelled_until_load_id,
        periods.examined_until_load_id,
        labelled_periods.labelled_on,
        periods.examined_on,
        labelled_periods.labelled_until_load_id is null
        or labelled_periods.labelled_on <> periods.examined_on
        or exists (
            select
            from days_of_changes
            where
                days_of_changes.company_id = periods.company_id
                and days_of_changes.happened_date < periods.looks_until_date
                and days_of_changes.felt_until_date >= periods.as_of_date
        ) as is_due,
        coalesce(labelled_periods.is_recorded, false) as is_recorded
    from periods
    left join labelled_periods
        on periods.company_id = labelled_periods.company_id
        and periods.as_of_date = labelled_periods.as_of_date

)

select * from final
