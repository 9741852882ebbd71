select case when count(distinct currency) = 1 then sum(value_at_risk) end as value_at_risk
from analytics.customer_value
where
    value_at_risk is not null
    [[and {{company}}]]
