select
    issued_at,
    kind,
    amount,
    payment_state,
    due_at,
    paid_at,
    days_late
from analytics.customer_payments
where (company_id, customer_id) = (
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
order by issued_at desc
limit 50
