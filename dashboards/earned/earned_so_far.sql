select case when count(distinct currency) = 1 then sum(earned) end as earned
from analytics.uplift_ledger
where
    scope = 'programme'
    and earned is not null
    [[and {{company}}]]
