with

movements as (

    select
        month,
        from_level,
        to_level,
        customers,
        is_replayed,
        array_position(array['low', 'medium', 'high'], to_level)
        - array_position(array['low', 'medium', 'high'], from_level) as steps
    from analytics.risk_movements_with_replays
    where
        true
        [[and {{company}}]]

)

select
    month,
    sum(customers) filter (where steps > 0 and not is_replayed)::bigint as rose,
    sum(customers) filter (where steps < 0 and not is_replayed)::bigint as fell,
    sum(customers) filter (where from_level = 'new' and not is_replayed)::bigint as came,
    sum(customers) filter (where to_level = 'left' and not is_replayed)::bigint as went,
    sum(customers) filter (where steps > 0 and is_replayed)::bigint as rose_replayed,
    sum(customers) filter (where steps < 0 and is_replayed)::bigint as fell_replayed,
    sum(customers) filter (where from_level = 'new' and is_replayed)::bigint as came_replayed,
    sum(customers) filter (where to_level = 'left' and is_replayed)::bigint as went_replayed
from movements
group by month
order by month
