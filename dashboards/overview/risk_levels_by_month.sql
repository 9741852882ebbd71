select
    month,
    risk_level,
    sum(customers)::bigint as customers
from analytics.risk_by_month
where
    true
    [[and {{company}}]]
group by month, risk_level
order by month asc, case risk_level when 'high' then 1 when 'medium' then 2 else 3 end asc
