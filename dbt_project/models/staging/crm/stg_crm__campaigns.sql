with

versions as (

    select * from {{ ref('stg_crm__campaign_versions') }}

),

newest as (

    select distinct on (company_id, campaign_id) *
    from versions
    order by company_id asc, campaign_id asc, updated_at desc

),

final as (

    select * from newest
    where not is_deleted

)

select * from final
