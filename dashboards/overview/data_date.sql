select
    customer_overview.company_name,
    case max(customer_overview.evidence_level)
        when 'own_model' then 'the company''s own history'
        when 'pooled_model' then 'the history of several companies'
        when 'rule' then 'a simple rule, for want of history'
    end as evidence,
    max(customer_overview.score_date) as score_date,
    count(*) as customers_scored
from analytics.customer_overview
where
    customer_overview.churn_probability is not null
    [[and {{company}}]]
group by customer_overview.company_id, customer_overview.company_name
order by customer_overview.company_name, customer_overview.company_id
