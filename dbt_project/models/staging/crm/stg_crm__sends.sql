with

versions as (

    select * from {{ ref('stg_crm__send_versions') }}

),

newest as (

    select distinct on (company_id, send_id) *
    from versions
    order by company_id asc, send_id asc, updated_at desc

),

final as (

    select * from newest
    where not is_deleted

)

select * from final
