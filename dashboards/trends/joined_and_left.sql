select
    month,
    sum(customers_joined)::bigint as joined,
    sum(customers_churned + customers_joined_and_churned)::bigint as churned
from analytics.churn_by_month
where
    true
    [[and {{company}}]]
    [[and {{segment}}]]
    [[and {{month}}]]
group by month
order by month
