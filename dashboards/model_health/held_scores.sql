with

held as (

    select
        company_id,
        customer_id,
        company_name,
        published_level,
        held_level,
        published_probability,
        held_probability,
        is_held,
        as_of_date
    from analytics.held_scores
    where
        true
        [[and {{company}}]]
        [[and {{task}}]]
        [[and {{month}}]]
    order by as_of_date desc, is_held desc, abs(held_probability - published_probability) desc, customer_id asc
    limit 200

)

select
    held.as_of_date,
    held.company_name,
    held.customer_id,
    customers.customer_name,
    held.published_level,
    held.published_probability,
    held.held_level,
    held.held_probability,
    case when held.is_held then 'waits' else 'decided' end as is_waiting
from held
left join analytics.customer_overview as customers
    on held.company_id = customers.company_id
    and held.customer_id = customers.customer_id
order by
    held.as_of_date desc,
    is_waiting desc,
    abs(held.held_probability - held.published_probability) desc,
    held.customer_id asc
