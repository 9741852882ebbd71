with

versions as (

    select * from {{ ref('stg_crm__payment_versions') }}

),

newest as (

    select distinct on (company_id, payment_id) *
    from versions
    order by company_id asc, payment_id asc, updated_at desc

),

final as (

    select * from newest
    where not is_deleted

)

select * from final
