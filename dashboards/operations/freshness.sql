select
    company_name,
    entity,
    last_status,
    hours_behind,
    last_records_rejected,
    last_loaded_at
from analytics.data_freshness
where
    is_active
    [[and {{company}}]]
order by hours_behind desc nulls first, company_name asc, entity asc
