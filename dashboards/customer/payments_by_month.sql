select
    date_trunc('month', paid_at at time zone 'UTC')::date as month,
    sum(amount) as amount
from analytics.customer_payments
where
    (company_id, customer_id) = (
        select
            company_id,
            customer_id
        from analytics.customer_overview
        where
            true
            [[and {{company}}]]
            [[and {{customer}}]]
            [[and {{customer_name}}]]
        order by value_at_stake desc nulls last, customer_id asc
        limit 1
    )
    and payment_state = 'paid'
group by date_trunc('month', paid_at at time zone 'UTC')::date
order by month
