select
    decile,
    sum(outcomes) / sum(scores) / nullif(sum(sum(outcomes)) over () / sum(sum(scores)) over (), 0) as lift
from analytics.score_lift
where
    scores > 0
    [[and {{company}}]]
    [[and {{task}}]]
group by decile
order by decile
