with

months as (

    select
        month,
        count(distinct currency) as currencies,
        sum(value_at_stake) as value_at_stake
    from analytics.risk_by_month
    where
        true
        [[and {{company}}]]
    group by month

)

select
    month,
    case when max(currencies) over () = 1 then value_at_stake end as value_at_stake
from months
order by month
