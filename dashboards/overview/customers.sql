select
    month,
    sum(customers_at_end)::bigint as customers
from analytics.churn_by_month
where
    true
    [[and {{company}}]]
    [[and {{segment}}]]
group by month
order by month
