select
    decile,
    (
        sum(outcomes::numeric) / sum(scores) / nullif(sum(sum(outcomes::numeric)) over () / sum(sum(scores)) over (), 0)
    )::double precision as lift
from analytics.score_lift
where
    scores > 0
    [[and {{company}}]]
    [[and {{task}}]]
group by decile
order by decile
