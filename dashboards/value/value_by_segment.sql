select
    value_segment_name,
    case when count(distinct currency) = 1 then sum(expected_value) end as expected_value,
    case when count(distinct currency) = 1 then sum(value_at_risk) end as value_at_risk
from analytics.customer_value
where
    expected_value is not null
    [[and {{company}}]]
group by value_segment, value_segment_name
order by array_position(array['vip', 'steady', 'at_risk', 'prospect', 'lost'], value_segment)
