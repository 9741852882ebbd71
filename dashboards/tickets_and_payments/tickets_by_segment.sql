select
    coalesce(segment, 'not known') as segment_name,
    sum(tickets_opened)::bigint as tickets
from analytics.support_by_month
where
    month > (select max(newest.month) from analytics.support_by_month as newest) - interval '12 months'
    [[and {{company}}]]
    [[and {{segment}}]]
    [[and {{month}}]]
group by coalesce(segment, 'not known')
order by tickets desc, segment_name asc
limit 10
