select
    bin,
    sum(promised * scores) / sum(scores) as promised,
    sum(kept * scores) / sum(scores) as kept
from analytics.score_calibration
where
    scores > 0
    [[and {{company}}]]
    [[and {{task}}]]
group by bin
order by bin
