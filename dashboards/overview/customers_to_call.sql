select
    customer_overview.customer_id,
    customer_overview.company_name,
    customer_overview.customer_name,
    customer_overview.plan_name,
    customer_overview.country,
    customer_overview.currency,
    customer_overview.risk_level,
    customer_overview.first_reason,
    customer_overview.second_reason,
    customer_overview.third_reason,
    customer_overview.tickets_open,
    customer_overview.days_since_last_payment,
    customer_overview.churn_probability,
    customer_overview.revenue_90d,
    customer_overview.value_at_stake
from analytics.customer_overview
where
    customer_overview.churn_probability is not null
    [[and {{company}}]]
    [[and {{risk_level}}]]
    [[and {{plan}}]]
    [[and {{country}}]]
order by
    customer_overview.value_at_stake desc,
    customer_overview.churn_probability desc,
    customer_overview.customer_id asc
limit 500
