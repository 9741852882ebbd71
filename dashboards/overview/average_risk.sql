select
    month,
    sum(expected_churners::numeric)::double precision / nullif(sum(customers), 0) as average_risk
from analytics.risk_by_month
where
    true
    [[and {{company}}]]
group by month
order by month
