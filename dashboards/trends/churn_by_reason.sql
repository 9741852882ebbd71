select
    coalesce(main_reason, replayed_reason, 'Not known') as reason,
    count(*) filter (where replayed_reason is null or main_reason is not null) as customers,
    count(*) filter (where replayed_reason is not null and main_reason is null) as customers_replayed
from analytics.churned_customers
where
    true
    [[and {{company}}]]
    [[and {{segment}}]]
    [[and {{month}}]]
group by coalesce(main_reason, replayed_reason, 'Not known')
order by count(*) desc, reason asc
limit 8
