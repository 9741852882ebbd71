select
    value_segment_name,
    count(*) as customers
from analytics.customer_value
where
    true
    [[and {{company}}]]
group by value_segment, value_segment_name
order by array_position(array['vip', 'steady', 'at_risk', 'prospect', 'lost'], value_segment)
