with

newest as (

    select
        company_id,
        task,
        max(as_of_date) as as_of_date
    from analytics.feature_drift
    group by company_id, task

)

select
    feature_drift.company_name,
    feature_drift.label,
    feature_drift.psi,
    feature_drift.usual,
    feature_drift.importance,
    feature_drift.share_missing,
    feature_drift.share_missing_in_training,
    feature_drift.note,
    feature_drift.as_of_date
from analytics.feature_drift
inner join newest
    on feature_drift.company_id = newest.company_id
    and feature_drift.task = newest.task
    and feature_drift.as_of_date = newest.as_of_date
where
    feature_drift.is_drifted
    [[and {{company}}]]
    [[and {{task}}]]
order by feature_drift.importance desc nulls first, feature_drift.psi desc, feature_drift.label asc
limit 100
