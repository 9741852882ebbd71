select
    customer_overview.plan_name as plan,
    count(*) as customers
from analytics.customer_overview
where
    customer_overview.churn_probability is not null
    and customer_overview.plan_name is not null
    [[and {{company}}]]
    [[and {{risk_level}}]]
    [[and {{country}}]]
group by customer_overview.plan_name
order by customers desc, plan asc
