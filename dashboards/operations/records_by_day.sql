select
    started_date,
    sum(records_received)::bigint as received,
    sum(records_loaded)::bigint as landed
from analytics.load_history
where
    started_date > (select max(newest.started_date) from analytics.load_history as newest) - 60
    [[and {{company}}]]
group by started_date
order by started_date
