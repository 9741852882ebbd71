select
    opened_at,
    subject,
    priority,
    status,
    first_response_hours,
    resolution_hours,
    satisfaction
from analytics.customer_tickets
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
order by opened_at desc
limit 50
