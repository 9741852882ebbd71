select
    initcap(from_level) as was_at,
    initcap(to_level) as now_at,
    sum(customers)::bigint as customers
from analytics.risk_movements_by_month
where
    month = (select max(newest.month) from analytics.risk_movements_by_month as newest)
    [[and {{company}}]]
group by from_level, to_level
order by
    array_position(array['high', 'medium', 'low', 'new'], from_level),
    array_position(array['high', 'medium', 'low', 'left'], to_level)
