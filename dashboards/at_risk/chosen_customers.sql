select count(*) as customers
from analytics.customer_overview
where
    churn_probability is not null
    [[and {{company}}]]
    [[and {{risk_level}}]]
    [[and {{segment}}]]
    [[and {{plan}}]]
    [[and {{country}}]]
    [[and {{reason}}]]
