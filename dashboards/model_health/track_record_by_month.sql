select
    as_of_month,
    sum(customers)::bigint as customers,
    sum(high_risk)::bigint as high_risk,
    sum(high_risk_outcomes)::bigint as high_risk_outcomes,
    sum(entities_with_outcome)::bigint as entities_with_outcome,
    sum(entities_named)::bigint as entities_named,
    sum((promised * scores)::numeric)::double precision / sum(scores) as promised,
    sum((kept * scores)::numeric)::double precision / sum(scores) as kept
from analytics.track_record_by_month
where
    scores > 0
    [[and {{company}}]]
    [[and {{task}}]]
    [[and {{month}}]]
group by as_of_month
order by as_of_month desc
