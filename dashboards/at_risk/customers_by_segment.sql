select
    segment as segment_name,
    count(*) as customers
from analytics.customer_overview
where
    churn_probability is not null
    and segment is not null
    [[and {{company}}]]
    [[and {{risk_level}}]]
    [[and {{plan}}]]
    [[and {{country}}]]
    [[and {{reason}}]]
group by segment
order by customers desc, segment_name asc
limit 10
