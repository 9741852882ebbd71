select
    plan_name as plan,
    count(*) as customers
from analytics.customer_overview
where
    churn_probability is not null
    and plan_name is not null
    [[and {{company}}]]
    [[and {{risk_level}}]]
    [[and {{segment}}]]
    [[and {{country}}]]
    [[and {{reason}}]]
group by plan_name
order by customers desc, plan asc
limit 10
