{{ config(indexes=[{'columns': ['company_id', 'risk_level', 'feature'], 'unique': true}]) }}

with

reasons as (

    select * from {{ ref('customer_reasons') }}
    where is_raising_risk and feature <> 'other'

),

final as (

    select
        company_id,
        risk_level,
        feature,
        min(company_name) as company_name,
        min(feature_label) as feature_label,
        min(feature_family) as feature_family,
        count(*)::integer as customers
    from reasons
    group by company_id, risk_level, feature

)

select * from final
