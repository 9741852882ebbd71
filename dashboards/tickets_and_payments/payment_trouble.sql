select
    month,
    sum(payments_failed)::double precision / nullif(sum(payments_due), 0) as failed,
    sum(payments_late)::double precision / nullif(sum(payments_due), 0) as late
from analytics.payment_health_by_month
where
    month < (select max(newest.month) from analytics.payment_health_by_month as newest)
    [[and {{company}}]]
    [[and {{segment}}]]
    [[and {{month}}]]
group by month
order by month
