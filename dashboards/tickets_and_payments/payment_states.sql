select
    month,
    sum(payments_on_time)::bigint as on_time,
    sum(payments_late)::bigint as late,
    sum(payments_failed)::bigint as failed,
    sum(greatest(payments_overdue - payments_failed, 0))::bigint as overdue
from analytics.payment_health_by_month
where
    true
    [[and {{company}}]]
    [[and {{segment}}]]
    [[and {{month}}]]
group by month
order by month
