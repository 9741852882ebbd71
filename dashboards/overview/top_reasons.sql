select
    customer_reasons.feature_label as reason,
    count(*) as customers
from analytics.customer_reasons
inner join analytics.customer_overview
    on customer_reasons.company_id = customer_overview.company_id
    and customer_reasons.customer_id = customer_overview.customer_id
where
    customer_reasons.is_raising_risk
    and customer_reasons.feature <> 'other'
    and customer_overview.churn_probability is not null
    [[and {{company}}]]
    [[and {{risk_level}}]]
    [[and {{plan}}]]
    [[and {{country}}]]
group by customer_reasons.feature_label
order by customers desc, reason asc
limit 10
