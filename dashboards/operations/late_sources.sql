select count(*) filter (where coalesce(hours_behind, 1000000) > 36) as late_sources
from analytics.data_freshness
where
    is_active
    [[and {{company}}]]
