select case when count(distinct currency) = 1 then sum(value_at_stake) end as value_at_stake
from analytics.customer_overview
where
    churn_probability is not null
    [[and {{company}}]]
    [[and {{risk_level}}]]
    [[and {{segment}}]]
    [[and {{plan}}]]
    [[and {{country}}]]
    [[and {{reason}}]]
