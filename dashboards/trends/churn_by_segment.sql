with

months as (

    select
        date_trunc('quarter', month)::date as quarter_start,
        coalesce(segment, 'not known') as segment_name,
        sum(customers_churned) as customers_churned,
        sum(customers_at_start) as customers_at_start
    from analytics.churn_by_month
    where
        true
        [[and {{company}}]]
        [[and {{segment}}]]
        [[and {{month}}]]
    group by date_trunc('quarter', month)::date, coalesce(segment, 'not known')

),

largest as (

    select segment_name
    from months
    group by segment_name
    order by sum(customers_at_start) desc, segment_name asc
    limit 6

)

select
    months.quarter_start,
    months.segment_name,
    months.customers_churned::double precision / months.customers_at_start as churn_rate
from months
inner join largest
    on months.segment_name = largest.segment_name
where months.customers_at_start > 0
order by months.quarter_start, months.segment_name
