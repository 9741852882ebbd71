select
    company_name,
    case evidence_level
        when 'own_model' then 'the company''s own history'
        when 'pooled_model' then 'the history of several companies'
        when 'rule' then 'a simple rule, for want of history'
        else 'all scores'
    end as rests_on,
    customers,
    outcomes,
    promised,
    kept,
    kept_low,
    kept_high,
    case when is_kept then 'yes' else 'no' end as is_as_promised,
    auc,
    auc_low,
    auc_high,
    calibration_error
from analytics.score_grades
where
    segment = 'all'
    and model_version = 'all'
    [[and {{company}}]]
    [[and {{task}}]]
order by company_name asc, company_id asc, array_position(array['all'], evidence_level) asc, evidence_level asc
