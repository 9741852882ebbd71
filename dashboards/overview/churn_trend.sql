select
    month,
    sum(customers_churned)::double precision / nullif(sum(customers_at_start), 0) as churn_rate
from analytics.churn_by_month
where
    month >= (select max(newest.month) from analytics.churn_by_month as newest) - interval '23 months'
    [[and {{company}}]]
    [[and {{segment}}]]
group by month
having sum(customers_at_start) > 0
order by month
