select count(*) as customers
from analytics.customer_decisions
where
    action is not null
    and not is_control
    [[and {{company}}]]
