select
    company_name,
    to_char(first_month, 'Mon YYYY') || ' to ' || to_char(last_month, 'Mon YYYY') as months,
    high_risk,
    high_risk_kept,
    high_risk_kept_low,
    high_risk_kept_high,
    entities_with_outcome,
    named_share,
    named_share_low,
    named_share_high,
    promised,
    kept,
    auc,
    currency || ' ' || to_char(value_lost, 'FM999,999,999,990') as value_lost,
    currency || ' ' || to_char(value_lost_named, 'FM999,999,999,990') as value_lost_named
from analytics.track_record
where
    true
    [[and {{company}}]]
    [[and {{task}}]]
order by company_name asc, company_id asc, task asc
