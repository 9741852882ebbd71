with

source as (

    select * from {{ source('ops', 'companies') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        unnest(entities) as entity
    from source

)

select * from final
