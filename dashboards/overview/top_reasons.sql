select
    feature_label as reason,
    count(*) as customers
from analytics.customer_reasons
where
    is_raising_risk
    and feature <> 'other'
    and risk_level in ('high', 'medium')
    [[and {{company}}]]
group by feature_label
order by customers desc, reason asc
limit 8
