select
    month,
    sum(first_response_hours_total::numeric)::double precision / nullif(sum(tickets_answered), 0) as first_answer,
    sum(resolution_hours_total::numeric)::double precision / nullif(sum(tickets_resolved), 0) as solution
from analytics.support_by_month
where
    true
    [[and {{company}}]]
    [[and {{segment}}]]
    [[and {{month}}]]
group by month
order by month
