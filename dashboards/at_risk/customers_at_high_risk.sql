select
    month,
    coalesce(sum(customers) filter (where risk_level = 'high'), 0)::bigint as customers_at_high_risk
from analytics.risk_by_month
where
    true
    [[and {{company}}]]
group by month
order by month
