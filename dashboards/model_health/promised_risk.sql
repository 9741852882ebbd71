select
    month,
    sum(expected_churners::numeric)::double precision as expected
from analytics.risk_by_month
where
    true
    [[and {{company}}]]
group by month
order by month
