-- A quarter's closing revenue is what its three months took in.
{{ config(meta={'dagster': {'ref': {'name': 'revenue_retention_by_quarter', 'package': 'churn_warehouse'}}}) }}

with

quarters as (

    select
        company_id,
        quarter_start,
        sum(closing_revenue) as closing_revenue,
        count(*) as segments
    from {{ ref('revenue_retention_by_quarter') }}
    where {{ is_at_work() }}
    group by company_id, quarter_start

),

months as (

    select
        company_id,
        date_trunc('quarter', month)::date as quarter_start,
        sum(net_revenue) as net_revenue
    from {{ ref('revenue_statistics_by_month') }}
    group by company_id, date_trunc('quarter', month)

)

select
    quarters.company_id,
    quarters.quarter_start,
    quarters.closing_revenue,
    months.net_revenue
from quarters
left join months
    on quarters.company_id = months.company_id
    and quarters.quarter_start = months.quarter_start
-- Each segment and each month is rounded to the cent.
where abs(quarters.closing_revenue - coalesce(months.net_revenue, 0)) > 0.01 * (quarters.segments + 6)
