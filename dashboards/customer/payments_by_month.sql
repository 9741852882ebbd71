with

chosen as (

    select
        company_id,
        customer_id,
        date_trunc('month', score_date)::date as scored_month
    from analytics.customer_overview
    where
        true
        [[and {{company}}]]
        [[and {{customer}}]]
        [[and {{customer_name}}]]
    order by value_at_stake desc nulls last, customer_id asc
    limit 1

),

paid as (

    select
        chosen.scored_month,
        date_trunc('month', payments.paid_at at time zone 'UTC')::date as month,
        sum(payments.amount) as amount
    from chosen
    inner join analytics.customer_payments as payments
        on chosen.company_id = payments.company_id
        and chosen.customer_id = payments.customer_id
    where payments.payment_state = 'paid'
    group by chosen.scored_month, date_trunc('month', payments.paid_at at time zone 'UTC')::date

),

-- A month in which nothing was paid is one too.
months as (

    select generate_series(min(month), greatest(max(month), max(scored_month)), interval '1 month')::date as month
    from paid

)

select
    months.month,
    coalesce(paid.amount, 0) as amount
from months
left join paid
    on months.month = paid.month
order by months.month
