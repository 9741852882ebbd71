select
    company_name,
    model_version,
    case max(evidence_level)
        when 'own_model' then 'the company''s own history'
        when 'pooled_model' then 'the history of several companies'
        when 'rule' then 'a simple rule, for want of history'
    end as evidence,
    min(as_of_date) as first_day,
    max(as_of_date) as last_day,
    count(*) as publications,
    (array_agg(customers_scored order by as_of_date desc))[1] as customers
from analytics.publication_history
where
    true
    [[and {{company}}]]
group by company_id, company_name, model_version
order by last_day desc, company_name asc
