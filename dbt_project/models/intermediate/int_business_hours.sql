with

companies as (

    select * from {{ ref('stg_ops__companies') }}
    where business_hours is not null

),

final as (

    select
        companies.company_id,
        array_position(
            array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'], opening_times.day_name
        ) as iso_weekday,
        (opening_times.opening ->> 0)::time as opens_at,
        (opening_times.opening ->> 1)::time as closes_at
    from companies
    cross join lateral jsonb_each(companies.business_hours) as opening_times (day_name, opening)
    where (opening_times.opening ->> 0)::time < (opening_times.opening ->> 1)::time

)

select * from final
