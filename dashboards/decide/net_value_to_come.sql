select case when count(distinct currency) = 1 then sum(net_value) end as net_value
from analytics.customer_decisions
where
    action is not null
    and not is_control
    [[and {{company}}]]
