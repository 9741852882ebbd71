with

levels as (

    select
        month,
        risk_level || case when is_replayed then ', replayed' else '' end as risk_level,
        is_replayed,
        case risk_level when 'high' then 1 when 'medium' then 2 else 3 end as place,
        sum(customers)::bigint as customers
    from analytics.risk_levels_with_replays
    where
        true
        [[and {{company}}]]
    group by month, risk_level, is_replayed

),

-- Every month between the first and the last, so that one without scores is a gap and not left out.
months as (

    select generate_series(min(month), max(month), interval '1 month')::date as month
    from levels

),

series as (

    select distinct
        risk_level,
        is_replayed,
        place
    from levels

)

select
    months.month,
    series.risk_level,
    levels.customers
from months
cross join series
left join levels
    on months.month = levels.month
    and series.risk_level = levels.risk_level
order by months.month asc, series.is_replayed asc, series.place asc
