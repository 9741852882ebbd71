select
    started_at,
    company_name,
    stage,
    error,
    dagster_run_id
from analytics.run_history
where
    status = 'failed'
    [[and {{company}}]]
order by started_at desc
limit 50
