with

source as (

    select * from {{ source('ops', 'companies') }}
    where {{ is_at_work() }}

),

final as (

    select
        company_id,
        slug as company_slug,
        name as company_name,
        currency::text as currency,
        time_zone,
        segment_by,
        personal_data,
        business_hours,
        custom_attributes,
        is_active,
        shares_training,
        clock_at
    from source

)

select * from final
