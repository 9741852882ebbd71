select
    decided_month,
    case when count(distinct currency) = 1 then sum(promised) end as promised,
    case when count(distinct currency) = 1 then sum(earned) end as earned
from analytics.uplift_ledger
where
    scope = 'month'
    [[and {{company}}]]
group by decided_month
order by decided_month
