with

business_hours as (

    select * from {{ ref('int_business_hours') }}

),

companies as (

    select distinct company_id
    from business_hours

),

weekdays as (

    select
        companies.company_id,
        seven_days.iso_weekday,
        coalesce(extract(epoch from business_hours.opens_at), 0)::double precision as opens_at_seconds,
        coalesce(extract(epoch from business_hours.closes_at - business_hours.opens_at), 0) as open_seconds
    from companies
    cross join generate_series(1, 7) as seven_days (iso_weekday)
    left join business_hours
        on companies.company_id = business_hours.company_id
        and seven_days.iso_weekday = business_hours.iso_weekday

),

weekdays_with_sums as (

    select
        *,
        sum(open_seconds) over (partition by company_id order by iso_weekday) - open_seconds as open_seconds_before
    from weekdays

),

final as (

    select
        company_id,
        sum(open_seconds)::double precision as open_seconds_a_week,
        array_agg(opens_at_seconds order by iso_weekday) as opens_at_seconds,
        array_agg(open_seconds::double precision order by iso_weekday) as open_seconds,
        array_agg(open_seconds_before::double precision order by iso_weekday) as open_seconds_before
    from weekdays_with_sums
    group by company_id

)

select * from final
