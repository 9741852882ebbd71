with

versions as (

    select * from {{ ref('stg_crm__customer_versions') }}

),

final as (

    {{ leavings('versions') }}

)

select * from final
