with

movements as (

    select
        month,
        from_level,
        to_level,
        customers,
        array_position(array['low', 'medium', 'high'], to_level)
        - array_position(array['low', 'medium', 'high'], from_level) as steps
    from analytics.risk_movements_by_month
    where
        true
        [[and {{company}}]]

)

select
    month,
    coalesce(sum(customers) filter (where steps > 0), 0)::bigint as rose,
    coalesce(sum(customers) filter (where steps < 0), 0)::bigint as fell,
    coalesce(sum(customers) filter (where from_level = 'new'), 0)::bigint as came,
    coalesce(sum(customers) filter (where to_level = 'left'), 0)::bigint as went
from movements
group by month
order by month
