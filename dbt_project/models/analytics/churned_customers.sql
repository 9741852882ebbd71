{{ config(indexes=[{'columns': ['company_id', 'customer_id', 'churned_at'], 'unique': true}]) }}

with

spells as (

    select * from {{ ref('int_customers__spells') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

settings as (

    select * from {{ ref('int_churn__settings') }}

),

customers as (

    select * from {{ ref('stg_crm__customers') }}

),

segments as (

    select * from {{ ref('int_customers__segments') }}

),

scores as (

    select * from {{ ref('stg_predictions__churn_scores') }}

),

replayed_scores as (

    select * from {{ ref('int_churn_scores__replayed') }}

),

payments as (

    select * from {{ ref('int_payments__current') }}
    where voided_at is null

),

departures as (

    select
        *,
        lead(begins_at) over (partition by company_id, customer_id order by begins_at) as returned_at
    from spells

),

past_departures as (

    select * from departures
    where ends_at is not null

),

revenue_before as (

    select
        past_departures.company_id,
        past_departures.customer_id,
        past_departures.ends_at,
        sum(payments.revenue) as revenue_90d
    from past_departures
    inner join payments
        on past_departures.company_id = payments.company_id
        and past_departures.customer_id = payments.customer_id
        and past_departures.ends_at - {{ days_long(90) }} <= payments.paid_at
        and past_departures.ends_at > payments.paid_at
    group by past_departures.company_id, past_departures.customer_id, past_departures.ends_at

),

-- What was published last before the customer left, while it still spoke of that moment.
warnings as (

    select distinct on (past_departures.company_id, past_departures.customer_id, past_departures.ends_at)
        past_departures.company_id,
        past_departures.customer_id,
        past_departures.ends_at,
        scores.risk_level,
        scores.churn_probability,
        scores.as_of_date,
        scores.reasons
    from past_departures
    inner join settings
        on past_departures.company_id = settings.company_id
    inner join scores
        on past_departures.company_id = scores.company_id
        and past_departures.customer_id = scores.customer_id
        and {{ utc_date('past_departures.ends_at') }} >= scores.as_of_date
        and {{ utc_date('past_departures.ends_at') }} < scores.as_of_date + settings.horizon_days
    order by
        past_departures.company_id asc,
        past_departures.customer_id asc,
        past_departures.ends_at asc,
        scores.as_of_date desc

),

main_reasons as (

    select distinct on (warnings.company_id, warnings.customer_id, warnings.ends_at)
        warnings.company_id,
        warnings.customer_id,
        warnings.ends_at,
        reason.body ->> 'label' as label,
        reason.body ->> 'family' as family
    from warnings
    cross join lateral jsonb_array_elements(warnings.reasons) as reason (body)
    where
        reason.body ->> 'feature' <> 'other'
        and (reason.body ->> 'contribution')::double precision > 0
    order by
        warnings.company_id asc,
        warnings.customer_id asc,
        warnings.ends_at asc,
        (reason.body ->> 'contribution')::double precision desc

),

-- What would have been said last, of who left before anything was published. It is kept apart from what was.
replayed_warnings as (

    select distinct on (past_departures.company_id, past_departures.customer_id, past_departures.ends_at)
        past_departures.company_id,
        past_departures.customer_id,
        past_departures.ends_at,
        replayed_scores.risk_level,
        replayed_scores.month,
        replayed_scores.reasons
    from past_departures
    inner join settings
        on past_departures.company_id = settings.company_id
    inner join replayed_scores
        on past_departures.company_id = replayed_scores.company_id
        and past_departures.customer_id = replayed_scores.customer_id
        and {{ utc_date('past_departures.ends_at') }} >= replayed_scores.month
        and {{ utc_date('past_departures.ends_at') }} < replayed_scores.month + settings.horizon_days
    left join warnings
        on past_departures.company_id = warnings.company_id
        and past_departures.customer_id = warnings.customer_id
        and past_departures.ends_at = warnings.ends_at
    where warnings.company_id is null
    order by
        past_departures.company_id asc,
        past_departures.customer_id asc,
        past_departures.ends_at asc,
        replayed_scores.month desc

),

replayed_reasons as (

    select distinct on (replayed_warnings.company_id, replayed_warnings.customer_id, replayed_warnings.ends_at)
        replayed_warnings.company_id,
        replayed_warnings.customer_id,
        replayed_warnings.ends_at,
        reason.body ->> 'label' as label,
        reason.body ->> 'family' as family
    from replayed_warnings
    cross join lateral jsonb_array_elements(replayed_warnings.reasons) as reason (body)
    where
        reason.body ->> 'feature' <> 'other'
        and (reason.body ->> 'contribution')::double precision > 0
    order by
        replayed_warnings.company_id asc,
        replayed_warnings.customer_id asc,
        replayed_warnings.ends_at asc,
        (reason.body ->> 'contribution')::double precision desc

),

final as (

    select
        past_departures.company_id,
        past_departures.customer_id,
        past_departures.ends_at as churned_at,
        companies.company_name,
        customers.customer_name,
        segments.segment,
        customers.plan_name,
        companies.currency,
        main_reasons.label as main_reason,
        main_reasons.family as main_reason_family,
        warnings.risk_level as last_risk_level,
        replayed_reasons.label as replayed_reason,
        replayed_reasons.family as replayed_reason_family,
        replayed_warnings.risk_level as replayed_risk_level,
        warnings.churn_probability as last_churn_probability,
        {{ days_between('past_departures.begins_at', 'past_departures.ends_at') }} as days_as_customer,
        coalesce(revenue_before.revenue_90d, 0)::numeric(38, 2) as revenue_90d,
        past_departures.returned_at is not null as has_returned,
        past_departures.ends_month as month,
        warnings.as_of_date as last_score_date,
        replayed_warnings.month as replayed_month
    from past_departures
    inner join companies
        on past_departures.company_id = companies.company_id
    inner join customers
        on past_departures.company_id = customers.company_id
        and past_departures.customer_id = customers.customer_id
    inner join segments
        on past_departures.company_id = segments.company_id
        and past_departures.customer_id = segments.customer_id
    left join revenue_before
        on past_departures.company_id = revenue_before.company_id
        and past_departures.customer_id = revenue_before.customer_id
        and past_departures.ends_at = revenue_before.ends_at
    left join warnings
        on past_departures.company_id = warnings.company_id
        and past_departures.customer_id = warnings.customer_id
        and past_departures.ends_at = warnings.ends_at
    left join main_reasons
        on past_departures.company_id = main_reasons.company_id
        and past_departures.customer_id = main_reasons.customer_id
        and past_departures.ends_at = main_reasons.ends_at
    left join replayed_warnings
        on past_departures.company_id = replayed_warnings.company_id
        and past_departures.customer_id = replayed_warnings.customer_id
        and past_departures.ends_at = replayed_warnings.ends_at
    left join replayed_reasons
        on past_departures.company_id = replayed_reasons.company_id
        and past_departures.customer_id = replayed_reasons.customer_id
        and past_departures.ends_at = replayed_reasons.ends_at

)

select * from final
