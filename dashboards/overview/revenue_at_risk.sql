with

months as (

    select
        month,
        count(distinct currency) as currencies,
        sum(monthly_revenue_at_risk) as revenue_at_risk
    from analytics.risk_by_month
    where
        true
        [[and {{company}}]]
    group by month

)

select
    month,
    case when max(currencies) over () = 1 then revenue_at_risk end as revenue_at_risk
from months
order by month
