select case when count(distinct currency) = 1 then sum(expected_value) end as expected_value
from analytics.customer_value
where
    expected_value is not null
    [[and {{company}}]]
