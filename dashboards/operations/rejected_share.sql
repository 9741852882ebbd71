select coalesce(sum(records_rejected)::double precision / nullif(sum(records_received), 0), 0) as rejected
from analytics.load_history
where
    started_date > (select max(newest.started_date) from analytics.load_history as newest) - 7
    [[and {{company}}]]
