select
    case value_segment
        when 'vip' then 'VIP'
        when 'steady' then 'Steady'
        when 'at_risk' then 'At risk'
        when 'prospect' then 'Prospect'
        else 'Lost'
    end as value_segment_name,
    count(*) as customers
from analytics.customer_value
where
    true
    [[and {{company}}]]
group by value_segment
order by array_position(array['vip', 'steady', 'at_risk', 'prospect', 'lost'], value_segment)
