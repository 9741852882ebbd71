select
    moved_month,
    sum(moves) filter (where value_segment = 'vip')::bigint as became_vip,
    sum(moves) filter (where value_segment = 'steady')::bigint as became_steady,
    sum(moves) filter (where value_segment = 'at_risk')::bigint as became_at_risk,
    sum(moves) filter (where value_segment = 'prospect')::bigint as became_prospect,
    sum(moves) filter (where value_segment = 'lost')::bigint as became_lost
from analytics.segment_moves_by_month
where
    true
    [[and {{company}}]]
group by moved_month
order by moved_month
