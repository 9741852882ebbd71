select
    months_since_signup as months_later,
    date_part('year', cohort_month)::text as signed_up_in,
    sum(customers_retained)::double precision / nullif(sum(customers), 0) as retained
from analytics.cohort_retention
where
    months_since_signup <= 24
    [[and {{company}}]]
    [[and {{segment}}]]
group by months_since_signup, date_part('year', cohort_month)
having sum(customers) > 0
order by months_later, signed_up_in
