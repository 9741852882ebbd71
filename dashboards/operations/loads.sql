select
    started_at,
    company_name,
    entity,
    status,
    records_received,
    records_loaded,
    records_rejected,
    seconds
from analytics.load_history
where
    true
    [[and {{company}}]]
order by started_at desc
limit 100
