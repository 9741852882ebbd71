select
    company_name,
    segment as segment_name,
    customers,
    outcomes,
    promised,
    kept,
    kept_low,
    kept_high,
    case when is_kept then 'yes' else 'no' end as is_as_promised,
    auc,
    lift_top_decile
from analytics.score_grades
where
    segment != 'all'
    and model_version = 'all'
    and evidence_level = 'all'
    [[and {{company}}]]
    [[and {{task}}]]
    [[and {{segment}}]]
order by customers desc, company_name asc, company_id asc, segment_name asc
limit 100
