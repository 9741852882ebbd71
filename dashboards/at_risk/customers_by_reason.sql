select
    main_reason as reason,
    count(*) as customers
from analytics.customer_overview
where
    churn_probability is not null
    and main_reason is not null
    [[and {{company}}]]
    [[and {{risk_level}}]]
    [[and {{segment}}]]
    [[and {{plan}}]]
    [[and {{country}}]]
group by main_reason
order by customers desc, reason asc
limit 10
