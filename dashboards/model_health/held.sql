select
    as_of_date,
    company_name,
    hold_status,
    reasons,
    flips,
    standing_date,
    released_at
from analytics.publication_holds
where
    true
    [[and {{company}}]]
    [[and {{task}}]]
order by as_of_date desc, company_name asc
limit 100
