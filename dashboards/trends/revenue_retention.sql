select
    quarter_start,
    sum((net_revenue_retention * opening_revenue)::numeric)::double precision / nullif(sum(opening_revenue), 0) as net,
    sum((gross_revenue_retention * opening_revenue)::numeric)::double precision
    / nullif(sum(opening_revenue), 0) as gross
from analytics.revenue_retention_by_quarter
where
    opening_revenue > 0
    [[and {{company}}]]
    [[and {{segment}}]]
group by quarter_start
having count(distinct currency) = 1
order by quarter_start
