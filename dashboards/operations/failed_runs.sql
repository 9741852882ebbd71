select count(*) as failed_runs
from analytics.run_history
where
    status = 'failed'
    and started_date > (select max(newest.started_date) from analytics.run_history as newest) - 7
    [[and {{company}}]]
