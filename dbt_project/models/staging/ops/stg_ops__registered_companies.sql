with

source as (

    select * from {{ source('ops', 'companies') }}

),

final as (

    select
        company_id,
        name as company_name,
        entities,
        is_active,
        {{ is_at_work() }} as is_at_work,
        clock_at
    from source

)

select * from final
