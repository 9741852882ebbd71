select
    quarter_start,
    sum(new_revenue) as new_revenue,
    sum(expansion_revenue) as expansion,
    -sum(contraction_revenue) as contraction,
    -sum(churned_revenue) as churned
from analytics.revenue_retention_by_quarter
where
    opening_revenue > 0
    [[and {{company}}]]
    [[and {{segment}}]]
group by quarter_start
having count(distinct currency) = 1
order by quarter_start
