select
    customer_id,
    company_name,
    customer_name,
    action_label,
    channel,
    action_owner,
    case when is_control then 'Leave alone (control)' else 'Do it' end as what_to_do,
    main_reason,
    currency,
    net_value_low,
    net_value,
    net_value_high,
    action_cost,
    rests_on,
    decided_on
from analytics.customer_decisions
where
    action is not null
    [[and {{company}}]]
order by is_control asc, net_value desc, customer_id asc
limit 500
