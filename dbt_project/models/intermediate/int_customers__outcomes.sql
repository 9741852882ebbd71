with

versions as (

    select * from {{ ref('stg_crm__customer_versions') }}

),

newest as (

    select distinct on (company_id, customer_id) *
    from versions
    order by company_id asc, customer_id asc, updated_at desc

),

-- A tombstone holds nothing but its time: what is known of the customer stands in the version before it.
newest_with_content as (

    select distinct on (company_id, customer_id) *
    from versions
    where not is_deleted
    order by company_id asc, customer_id asc, updated_at desc

),

final as (

    select
        newest.company_id,
        newest.customer_id,
        newest_with_content.cancelled_at,
        case when newest.is_deleted then newest.updated_at end as deleted_at
    from newest
    inner join newest_with_content
        on newest.company_id = newest_with_content.company_id
        and newest.customer_id = newest_with_content.customer_id

)

select * from final
