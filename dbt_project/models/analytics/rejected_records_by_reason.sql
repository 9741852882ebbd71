{{ config(indexes=[{'columns': ['company_id', 'entity', 'reason'], 'unique': true}]) }}

with

rejected_records as (

    select * from {{ ref('stg_crm__rejected_records') }}

),

companies as (

    select * from {{ ref('stg_ops__registered_companies') }}

),

final as (

    select
        rejected_records.company_id,
        rejected_records.entity,
        -- As much of it as an index takes.
        left(rejected_records.reason, 500) as reason,
        companies.company_name,
        count(*)::integer as records,
        min(rejected_records.rejected_at) as first_rejected_at,
        max(rejected_records.rejected_at) as last_rejected_at
    from rejected_records
    inner join companies
        on rejected_records.company_id = companies.company_id
    group by
        rejected_records.company_id,
        rejected_records.entity,
        left(rejected_records.reason, 500),
        companies.company_name

)

select * from final
