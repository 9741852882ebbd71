select
    month,
    risk_level || case when is_replayed then ', replayed' else '' end as risk_level,
    sum(customers)::bigint as customers
from analytics.risk_levels_with_replays
where
    true
    [[and {{company}}]]
group by month, risk_level, is_replayed
order by month asc, is_replayed asc, case risk_level when 'high' then 1 when 'medium' then 2 else 3 end asc
