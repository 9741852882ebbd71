select
    month,
    count(*) filter (where last_risk_level in ('medium', 'high'))::double precision / count(*) as warned_share
from analytics.churned_customers
where
    last_risk_level is not null
    [[and {{company}}]]
    [[and {{segment}}]]
    [[and {{month}}]]
group by month
order by month
