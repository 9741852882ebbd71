{{ config(indexes=[{'columns': ['company_id', 'as_of_date'], 'unique': true}]) }}

with

publications as (

    select * from {{ ref('stg_predictions__churn_publications') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

final as (

    select
        publications.company_id,
        publications.as_of_date,
        companies.company_name,
        publications.model_version,
        publications.evidence_level,
        publications.customers_scored,
        publications.published_at
    from publications
    inner join companies
        on publications.company_id = companies.company_id

)

select * from final
