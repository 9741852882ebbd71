{{ config(indexes=[{'columns': ['company_id', 'entity', 'rule'], 'unique': true}]) }}

with

rules_touched as (

    select * from {{ ref('int_rules_touched') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

final as (

    select
        rules_touched.company_id,
        rules_touched.entity,
        rules_touched.rule,
        companies.company_name,
        rules_touched.records_touched
    from rules_touched
    inner join companies
        on rules_touched.company_id = companies.company_id

)

select * from final
