select distinct on (company_id)
    company_name,
    as_of_date,
    customers_scored,
    model_version,
    replace(evidence_level, '_', ' ') as evidence_level,
    published_at
from analytics.publication_history
where
    true
    [[and {{company}}]]
order by company_id asc, as_of_date desc
