select
    customer_id,
    company_name,
    customer_name,
    value_segment_name,
    case segment_cause
        when 'left' then 'Left'
        when 'fell_silent' then 'Fell silent'
        when 'came_back' then 'Came back'
        when 'first_purchase' then 'First purchase'
        when 'risk_rose' then 'Risk rose'
        when 'risk_fell' then 'Risk fell'
        when 'value_rose' then 'Value rose'
        when 'value_fell' then 'Value fell'
    end as segment_cause_name,
    segment_since,
    currency,
    revenue_so_far,
    expected_low,
    expected_value,
    expected_high,
    value_at_risk
from analytics.customer_value
where
    expected_value is not null
    [[and {{company}}]]
order by expected_value desc, customer_id asc
limit 200
