select
    company_name,
    task,
    as_of_date,
    hold_status,
    reasons,
    customers_scored,
    flips,
    standing_date,
    held_at
from analytics.publication_holds
where
    released_at is null
    [[and {{company}}]]
order by as_of_date desc, company_name asc, task asc
limit 100
