select
    company_name,
    entity,
    reason,
    records,
    last_rejected_at
from analytics.rejected_records_by_reason
where
    true
    [[and {{company}}]]
order by records desc, company_name asc, entity asc
limit 100
