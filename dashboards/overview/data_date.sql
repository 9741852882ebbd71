select distinct on (company_id)
    company_name,
    as_of_date as score_date,
    customers_scored,
    case evidence_level
        when 'own_model' then 'the company''s own history'
        when 'pooled_model' then 'the history of several companies'
        when 'rule' then 'a simple rule, for want of history'
    end as evidence
from analytics.publication_history
where
    true
    [[and {{company}}]]
order by company_id asc, as_of_date desc
