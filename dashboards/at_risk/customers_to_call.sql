with

chosen as (

    select
        company_id,
        customer_id,
        company_name,
        customer_name,
        plan_name,
        segment,
        country,
        currency,
        risk_level,
        first_reason,
        second_reason,
        third_reason,
        tickets_open,
        days_since_last_payment,
        churn_probability,
        revenue_90d,
        value_at_stake,
        score_date
    from analytics.customer_overview
    where
        churn_probability is not null
        [[and {{company}}]]
        [[and {{risk_level}}]]
        [[and {{segment}}]]
        [[and {{plan}}]]
        [[and {{country}}]]
        [[and {{reason}}]]
    order by
        value_at_stake desc nulls last,
        churn_probability desc,
        customer_id asc
    limit 200

)

select
    chosen.customer_id,
    chosen.company_name,
    chosen.customer_name,
    chosen.plan_name,
    chosen.segment,
    chosen.country,
    chosen.currency,
    chosen.risk_level,
    chosen.first_reason,
    chosen.second_reason,
    chosen.third_reason,
    chosen.tickets_open,
    chosen.days_since_last_payment,
    chosen.churn_probability,
    score_moves.move_text,
    chosen.churn_probability - earlier.churn_probability as change_in_chance,
    chosen.revenue_90d,
    chosen.value_at_stake
from chosen
left join lateral (
    select score_history.churn_probability
    from analytics.score_history
    where
        score_history.company_id = chosen.company_id
        and score_history.customer_id = chosen.customer_id
        and score_history.month < date_trunc('month', chosen.score_date)
    order by score_history.month desc
    limit 1
) as earlier on true
left join analytics.score_moves
    on chosen.company_id = score_moves.company_id
    and chosen.customer_id = score_moves.customer_id
order by
    chosen.value_at_stake desc,
    chosen.churn_probability desc,
    chosen.customer_id asc
