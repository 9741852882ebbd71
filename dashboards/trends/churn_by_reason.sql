select
    coalesce(main_reason, 'Not known') as reason,
    count(*) as customers
from analytics.churned_customers
where
    true
    [[and {{company}}]]
    [[and {{segment}}]]
    [[and {{month}}]]
group by coalesce(main_reason, 'Not known')
order by customers desc, reason asc
limit 8
