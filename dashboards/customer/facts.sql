select
    customer_name,
    customer_id,
    company_name,
    risk_level,
    churn_probability,
    value_at_stake,
    monthly_revenue,
    revenue_90d,
    currency,
    plan_name,
    seats,
    segment,
    country,
    customer_status,
    signed_up_at,
    last_paid_at,
    tickets_open,
    score_date
from analytics.customer_overview as chosen
where (company_id, customer_id) = (
        select
            company_id,
            customer_id
        from analytics.customer_overview
        where
            true
            [[and {{company}}]]
            [[and {{customer}}]]
            [[and {{customer_name}}]]
        order by value_at_stake desc nulls last, customer_id asc
        limit 1
    )
