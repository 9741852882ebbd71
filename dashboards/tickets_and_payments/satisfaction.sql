select
    month,
    sum(satisfaction_total)::double precision / nullif(sum(tickets_rated), 0) as satisfaction
from analytics.support_by_month
where
    true
    [[and {{company}}]]
    [[and {{segment}}]]
    [[and {{month}}]]
group by month
having sum(tickets_rated) > 0
order by month
