with

versions as (

    select * from {{ ref('stg_crm__customer_versions') }}

),

final as (

    {{ price_spells('versions') }}

)

select * from final
