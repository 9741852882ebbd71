with

segments as (

    select
        coalesce(segment, 'not known') as segment_name,
        min(currency) as lowest_currency,
        max(currency) as highest_currency,
        sum(amount_overdue) as overdue
    from analytics.payment_health_by_month
    where
        true
        [[and {{company}}]]
        [[and {{segment}}]]
        [[and {{month}}]]
    group by coalesce(segment, 'not known')

)

select
    segment_name,
    overdue
from segments
where
    overdue > 0
    and (select min(every.lowest_currency) = max(every.highest_currency) from segments as every)
order by overdue desc, segment_name asc
limit 10
