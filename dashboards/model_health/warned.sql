select
    month,
    coalesce(last_risk_level, 'not scored') as last_level,
    count(*) as customers
from analytics.churned_customers
where
    true
    [[and {{company}}]]
    [[and {{segment}}]]
    [[and {{month}}]]
group by month, coalesce(last_risk_level, 'not scored')
order by month, array_position(array['high', 'medium', 'low', 'not scored'], coalesce(last_risk_level, 'not scored'))
