-- Who can churn: whoever is there, and where churn is silence, whose silence is not up already. That is asked of what
-- was known before the date; only who has not paid for inactivity_days has to be looked at for it.
{{ config(meta={'task': 'churn', 'matrix': 'customer_feature_matrix'}) }}

-- depends_on: {{ ref('stg_ops__company_tasks') }}

with

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

settings as (

    select * from {{ ref('int_churn__settings') }}

),

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}
    where {{ is_to_be_built() }}

),

payments as (

    select * from {{ ref('int_payments__intervals') }}
    where kind = 'charge'

),

versions as (

    select * from {{ ref('stg_crm__customer_versions') }}

),

customer_feature_matrix as (

    select
        company_id,
        customer_id,
        days_since_last_payment,
        as_of_date,
        feature_version,
        rates_version
    from {{ ref('customer_feature_matrix') }}
    where {{ is_to_be_built() }}

),

customers_who_have_not_paid as (

    select
        customer_feature_matrix.company_id,
        customer_feature_matrix.customer_id,
        customer_feature_matrix.as_of_date,
        as_of_dates.as_of_at
    from customer_feature_matrix
    inner join settings
        on customer_feature_matrix.company_id = settings.company_id
    inner join as_of_dates
        on customer_feature_matrix.company_id = as_of_dates.company_id
        and customer_feature_matrix.as_of_date = as_of_dates.as_of_date
    where
        settings.churn_kind = 'inactivity'
        and coalesce(customer_feature_matrix.days_since_last_payment > settings.inactivity_days, true)

),

-- A bill that is not paid by the date, and of which only its events are known, may fall due at any later time.
bills_as_known as (

    select
        customers_who_have_not_paid.company_id,
        customers_who_have_not_paid.customer_id,
        customers_who_have_not_paid.as_of_date,
        payments.payment_id,
        {{ midnight_of('payments.issued_date') }} as issued_at,
        case
            when
                payments.due_date < customers_who_have_not_paid.as_of_date
                or payments.attributes_known_from < customers_who_have_not_paid.as_of_at
                then {{ midnight_of('payments.due_date') }}
            when coalesce(payments.paid_date >= customers_who_have_not_paid.as_of_date, true)
                then 'infinity'::timestamptz
        end as due_at,
        case
            when payments.paid_date < customers_who_have_not_paid.as_of_date
                then {{ midnight_of('payments.paid_date') }}
        end as paid_at
    from customers_who_have_not_paid
    inner join payments
        on customers_who_have_not_paid.company_id = payments.company_id
        and customers_who_have_not_paid.customer_id = payments.customer_id
        and {{ is_in_force('payments', 'customers_who_have_not_paid.as_of_at') }}
        and customers_who_have_not_paid.as_of_date > payments.issued_date
        and coalesce(payments.voided_date >= customers_who_have_not_paid.as_of_date, true)

),

-- As in the matrix, nothing that the CRM can overwrite counts up to the first load.
versions_as_known as (

    select
        versions.*,
        customers_who_have_not_paid.as_of_date
    from customers_who_have_not_paid
    inner join clocks
        on customers_who_have_not_paid.company_id = clocks.company_id
        and customers_who_have_not_paid.as_of_at > clocks.first_loaded_at
    inner join versions
        on customers_who_have_not_paid.company_id = versions.company_id
        and customers_who_have_not_paid.customer_id = versions.customer_id
        and customers_who_have_not_paid.as_of_at > versions.known_at

),

terms_as_known as (

    {{ terms('versions_as_known', ['company_id', 'customer_id', 'as_of_date']) }}

),

pauses_as_known as (

    {{ pauses('versions_as_known', ['company_id', 'customer_id', 'as_of_date']) }}

),

spells_as_known as (

    {{ paying_spells(
        'bills_as_known', 'terms_as_known', 'pauses_as_known', 'settings', ['company_id', 'customer_id', 'as_of_date'],
        plan_may_be_unknown=true
    ) }}

),

-- Up to the first load it is not known who was under contract or paused: where it spoke of either, customers may have
-- been there, and their label knows whether they were.
companies_with_terms as (

    select versions.company_id
    from versions
    inner join settings
        on versions.company_id = settings.company_id
    where
        settings.churn_kind = 'inactivity'
        and versions.is_backfill
        and (versions.contract_end_at is not null or versions.paused_at is not null or versions.status = 'paused')
    group by versions.company_id

),

customers_in_silence as (

    select
        customers_who_have_not_paid.company_id,
        customers_who_have_not_paid.customer_id,
        customers_who_have_not_paid.as_of_date,
        bool_or(
            spells_as_known.ends_at >= customers_who_have_not_paid.as_of_at
            or (companies_with_terms.company_id is not null and terms_as_known.company_id is null)
        ) as may_pay
    from customers_who_have_not_paid
    inner join spells_as_known
        on customers_who_have_not_paid.company_id = spells_as_known.company_id
        and customers_who_have_not_paid.customer_id = spells_as_known.customer_id
        and customers_who_have_not_paid.as_of_date = spells_as_known.as_of_date
        and customers_who_have_not_paid.as_of_at > spells_as_known.begins_at
    left join companies_with_terms
        on customers_who_have_not_paid.company_id = companies_with_terms.company_id
    left join terms_as_known
        on customers_who_have_not_paid.company_id = terms_as_known.company_id
        and customers_who_have_not_paid.customer_id = terms_as_known.customer_id
        and customers_who_have_not_paid.as_of_date = terms_as_known.as_of_date
    group by
        customers_who_have_not_paid.company_id,
        customers_who_have_not_paid.customer_id,
        customers_who_have_not_paid.as_of_date

),

final as (

    select
        customer_feature_matrix.company_id,
        customer_feature_matrix.customer_id,
        customer_feature_matrix.as_of_date,
        {{ population_version('customer_feature_matrix', 'clocks', 'settings') }} as feature_version,
        customer_feature_matrix.feature_version as matrix_version,
        customer_feature_matrix.rates_version
    from customer_feature_matrix
    inner join clocks
        on customer_feature_matrix.company_id = clocks.company_id
    inner join settings
        on customer_feature_matrix.company_id = settings.company_id
    left join customers_in_silence
        on customer_feature_matrix.company_id = customers_in_silence.company_id
        and customer_feature_matrix.customer_id = customers_in_silence.customer_id
        and customer_feature_matrix.as_of_date = customers_in_silence.as_of_date
    where
        settings.churn_kind <> 'inactivity'
        or customer_feature_matrix.days_since_last_payment <= settings.inactivity_days
        or customers_in_silence.may_pay

)

select * from final
