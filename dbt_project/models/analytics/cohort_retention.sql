{{ config(indexes=[{'columns': ['company_id', 'cohort_month', 'segment', 'month'], 'unique': true}]) }}

with

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

months as (

    select * from {{ ref('int_companies__months') }}

),

segments as (

    select * from {{ ref('int_customers__segments') }}

),

spells as (

    select * from {{ ref('int_customers__spells') }}

),

payments as (

    select * from {{ ref('int_payments__current') }}
    where voided_at is null and paid_at is not null

),

cohorts as (

    select
        company_id,
        cohort_month,
        segment,
        count(*) as customers
    from segments
    group by company_id, cohort_month, segment

),

present as (

    select
        segments.company_id,
        segments.cohort_month,
        segments.segment,
        months.month,
        count(*) as customers_retained
    from spells
    inner join segments
        on spells.company_id = segments.company_id
        and spells.customer_id = segments.customer_id
    inner join months
        on spells.company_id = months.company_id
        and spells.begins_month <= months.month
        and coalesce(spells.ends_month > months.month, true)
    group by segments.company_id, segments.cohort_month, segments.segment, months.month

),

paid as (

    select
        segments.company_id,
        segments.cohort_month,
        segments.segment,
        {{ month_of('payments.paid_at', 'companies.time_zone') }} as month,
        sum(payments.revenue) as net_revenue
    from payments
    inner join companies
        on payments.company_id = companies.company_id
    inner join segments
        on payments.company_id = segments.company_id
        and payments.customer_id = segments.customer_id
    group by
        segments.company_id, segments.cohort_month, segments.segment,
        {{ month_of('payments.paid_at', 'companies.time_zone') }}

),

final as (

    select
        cohorts.company_id,
        cohorts.segment,
        companies.company_name,
        companies.currency,
        (
            12 * (extract(year from months.month) - extract(year from cohorts.cohort_month))
            + extract(month from months.month) - extract(month from cohorts.cohort_month)
        )::integer as months_since_signup,
        cohorts.customers::integer as customers,
        coalesce(present.customers_retained, 0)::integer as customers_retained,
        coalesce(present.customers_retained, 0)::double precision / cohorts.customers as retention_rate,
        coalesce(paid.net_revenue, 0)::numeric(38, 2) as net_revenue,
        cohorts.cohort_month,
        months.month
    from cohorts
    inner join companies
        on cohorts.company_id = companies.company_id
    inner join months
        on cohorts.company_id = months.company_id
        and cohorts.cohort_month <= months.month
    left join present
        on cohorts.company_id = present.company_id
        and cohorts.cohort_month = present.cohort_month
        and cohorts.segment is not distinct from present.segment
        and months.month = present.month
    left join paid
        on cohorts.company_id = paid.company_id
        and cohorts.cohort_month = paid.cohort_month
        and cohorts.segment is not distinct from paid.segment
        and months.month = paid.month

)

select * from final
