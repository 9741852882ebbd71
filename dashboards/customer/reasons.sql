select
    reason_text,
    effect,
    contribution,
    feature_family
from analytics.customer_reasons
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
order by reason_rank
