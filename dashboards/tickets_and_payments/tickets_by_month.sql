select
    month,
    sum(tickets_opened)::bigint as opened,
    sum(tickets_resolved)::bigint as resolved
from analytics.support_by_month
where
    true
    [[and {{company}}]]
    [[and {{segment}}]]
    [[and {{month}}]]
group by month
order by month
