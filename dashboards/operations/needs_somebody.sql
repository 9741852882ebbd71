with

chosen as (

    select
        company_id,
        company_name,
        entity,
        hours_behind,
        last_loaded_at
    from analytics.data_freshness
    where
        is_active
        [[and {{company}}]]

),

late as (

    select
        company_name,
        'source is late' as what,
        entity || case
            when hours_behind is null then ' was never loaded'
            else ' is ' || round(hours_behind) || ' hours behind'
        end as details,
        last_loaded_at as since
    from chosen
    where coalesce(hours_behind, 1000000) > 36

),

held as (

    select
        holds.company_name,
        'scores are held back' as what,
        'those of ' || holds.as_of_date || ': ' || coalesce(holds.reasons, 'no reason is known') as details,
        holds.held_at as since
    from analytics.publication_holds as holds
    where
        holds.hold_status = 'held'
        and holds.company_id in (select company_id from chosen)

),

everything as (

    select * from late
    union all
    select * from held

)

select
    company_name,
    what,
    details,
    since
from everything
order by company_name asc, what asc, details asc
limit 200
