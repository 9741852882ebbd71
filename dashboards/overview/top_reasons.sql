select
    feature_label as reason,
    sum(customers)::bigint as customers
from analytics.reasons_by_risk_level
where
    risk_level in ('high', 'medium')
    [[and {{company}}]]
group by feature_label
order by customers desc, reason asc
limit 8
