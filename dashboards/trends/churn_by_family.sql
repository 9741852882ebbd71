select
    month,
    coalesce(initcap(main_reason_family), initcap(replayed_reason_family) || ', replayed', 'Not known') as about,
    count(*) as customers
from analytics.churned_customers
where
    true
    [[and {{company}}]]
    [[and {{segment}}]]
    [[and {{month}}]]
group by month, coalesce(initcap(main_reason_family), initcap(replayed_reason_family) || ', replayed', 'Not known')
order by month, about
