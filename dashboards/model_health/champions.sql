select
    happened_at,
    company_name,
    case event
        when 'trained' then 'trained'
        when 'first' then 'publishes, the first one'
        when 'promoted' then 'publishes, for it is better'
        when 'replaced' then 'publishes, for the one before no longer fits'
        when 'rolled_back' then 'publishes again, rolled back by a person'
        when 'chosen' then 'publishes, chosen by a person'
        else event
    end as what_happened,
    model_version,
    previous_model_version,
    replace(cause, '_', ' ') as cause,
    decision,
    auc,
    auc_low,
    auc_high,
    log_loss,
    average_precision
from analytics.model_history
where
    true
    [[and {{company}}]]
    [[and {{task}}]]
order by happened_at desc, event_id desc
limit 100
