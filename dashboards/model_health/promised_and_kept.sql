select
    as_of_month,
    sum((promised * scores)::numeric) filter (where not is_replayed)::double precision
    / sum(scores) filter (where not is_replayed) as promised,
    sum((kept * scores)::numeric) filter (where not is_replayed)::double precision
    / sum(scores) filter (where not is_replayed) as kept,
    sum((promised * scores)::numeric) filter (where is_replayed)::double precision
    / sum(scores) filter (where is_replayed) as promised_replayed,
    sum((kept * scores)::numeric) filter (where is_replayed)::double precision
    / sum(scores) filter (where is_replayed) as kept_replayed
from analytics.grades_with_replays
where
    scores > 0
    [[and {{company}}]]
    [[and {{task}}]]
    [[and {{month}}]]
group by as_of_month
order by as_of_month
