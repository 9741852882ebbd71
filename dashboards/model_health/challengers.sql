select
    company_name,
    model_version,
    case scored_by
        when 'challenger' then 'the challenger, unseen'
        when 'champion' then 'the champion, published'
    end as said_by,
    first_date,
    last_date,
    customers,
    outcomes,
    promised,
    kept,
    auc,
    auc_low,
    auc_high,
    calibration_error,
    lift_top_decile
from analytics.challenger_grades
where
    true
    [[and {{company}}]]
    [[and {{task}}]]
order by last_date desc, company_name asc, company_id asc, model_version desc, scored_by asc
