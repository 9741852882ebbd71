select
    facts.customer_name,
    facts.customer_id,
    facts.company_name,
    facts.risk_level,
    facts.churn_probability,
    facts.value_at_stake,
    facts.monthly_revenue,
    facts.revenue_90d,
    facts.currency,
    facts.plan_name,
    facts.seats,
    facts.segment,
    facts.country,
    facts.customer_status,
    facts.signed_up_at,
    facts.last_paid_at,
    facts.tickets_open,
    facts.score_date
from analytics.customer_overview as facts
where (facts.company_id, facts.customer_id) = (
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
