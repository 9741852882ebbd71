select
    company_name,
    action_label,
    case programme_status
        when 'runs' then 'Runs'
        when 'nothing_earns' then 'Nothing earns here'
        else 'Stopped'
    end as status_name,
    period_start,
    currency,
    spent,
    budget,
    treated,
    capacity,
    controls,
    eligible,
    net_value,
    net_value_with_tenth_more,
    net_value_at_weaker_effect,
    decided_on
from analytics.programmes
where
    true
    [[and {{company}}]]
order by company_name asc, action asc
