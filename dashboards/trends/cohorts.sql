with

quarters as (

    select
        date_trunc('quarter', cohort_month)::date as cohort,
        months_since_signup as months_later,
        count(distinct cohort_month) as months,
        sum(customers_retained)::double precision / nullif(sum(customers), 0) as retained
    from analytics.cohort_retention
    where
        months_since_signup % 3 = 0
        and months_since_signup <= 24
        [[and {{company}}]]
        [[and {{segment}}]]
    group by date_trunc('quarter', cohort_month)::date, months_since_signup

)

select
    cohort,
    months_later,
    retained
from quarters
where months = 3 and cohort >= (select max(newest.cohort) from quarters as newest) - interval '30 months'
order by cohort, months_later
