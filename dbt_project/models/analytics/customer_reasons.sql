{{ config(indexes=[{'columns': ['company_id', 'customer_id', 'reason_rank'], 'unique': true}]) }}

with

scores as (

    select * from {{ ref('int_churn_scores__current') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

customers as (

    select * from {{ ref('stg_crm__customers') }}

),

final as (

    select
        scores.company_id,
        scores.customer_id,
        reason.reason_rank::integer as reason_rank,
        companies.company_name,
        reason.body ->> 'feature' as feature,
        reason.body ->> 'label' as feature_label,
        reason.body ->> 'family' as feature_family,
        reason.body ->> 'value' as feature_value,
        reason.body ->> 'usual' as usual_value,
        reason.body ->> 'unit' as feature_unit,
        {{ reason_fact('reason.body') }} as reason_text,
        {{ reason_effect('reason.body', var('outcome_nouns')['churn']) }} as effect,
        scores.risk_level,
        (reason.body ->> 'contribution')::double precision as contribution,
        (reason.body ->> 'contribution')::double precision > 0 as is_raising_risk,
        scores.as_of_date
    from scores
    inner join companies
        on scores.company_id = companies.company_id
    inner join customers
        on scores.company_id = customers.company_id
        and scores.customer_id = customers.customer_id
    cross join lateral jsonb_array_elements(scores.reasons) with ordinality as reason (body, reason_rank)

)

select * from final
