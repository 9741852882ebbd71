select
    company_name,
    action_label,
    action_owner,
    currency,
    earned_low,
    earned,
    earned_high,
    promised,
    spent,
    saved_share_low,
    saved_share,
    saved_share_high,
    matured,
    treated,
    controls,
    customers_needed,
    expected_end_date
from analytics.uplift_ledger
where
    scope = 'programme'
    [[and {{company}}]]
order by company_name asc, action asc
