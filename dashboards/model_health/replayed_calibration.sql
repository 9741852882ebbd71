select
    bin,
    sum((promised * scores)::numeric)::double precision / sum(scores) as promised,
    sum((kept * scores)::numeric)::double precision / sum(scores) as kept
from analytics.track_record_calibration
where
    scores > 0
    [[and {{company}}]]
    [[and {{task}}]]
group by bin
order by bin
