select
    as_of_month,
    sum((promised * scores)::numeric)::double precision / sum(scores) as promised,
    sum((kept * scores)::numeric)::double precision / sum(scores) as kept
from analytics.score_grades_by_month
where
    segment = 'all'
    and model_version = 'all'
    and evidence_level = 'all'
    and scores > 0
    [[and {{company}}]]
    [[and {{task}}]]
    [[and {{month}}]]
group by as_of_month
order by as_of_month
