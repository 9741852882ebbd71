{{ config(indexes=[{'columns': ['company_id', 'customer_id'], 'unique': true}]) }}

with

customer_values as (

    select * from {{ ref('stg_ml__customer_values') }}

),

standing as (

    select * from {{ ref('int_customers__standing') }}

),

customers as (

    select * from {{ ref('stg_crm__customers') }}
    where not is_test

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

segment_moves as (

    select * from {{ ref('stg_ml__segment_moves') }}

),

newest_moves as (

    select distinct on (company_id, customer_id) *
    from segment_moves
    order by company_id asc, customer_id asc, moved_on desc

),

final as (

    select
        customer_values.company_id,
        customer_values.customer_id,
        companies.company_name,
        customers.customer_name,
        companies.currency,
        standing.customer_status,
        customer_values.value_segment,
        case customer_values.value_segment
            when 'vip' then 'VIP'
            when 'steady' then 'Steady'
            when 'at_risk' then 'At risk'
            when 'prospect' then 'Prospect'
            else 'Lost'
        end as value_segment_name,
        newest_moves.previous_segment,
        newest_moves.cause as segment_cause,
        newest_moves.moved_on as segment_since,
        customer_values.method,
        standing.purchases,
        standing.revenue_so_far::numeric(38, 2) as revenue_so_far,
        customer_values.expected_low::numeric(38, 2) as expected_low,
        customer_values.expected_value::numeric(38, 2) as expected_value,
        customer_values.expected_high::numeric(38, 2) as expected_high,
        customer_values.value_at_risk::numeric(38, 2) as value_at_risk,
        customer_values.probability_alive,
        customer_values.valued_on
    from customer_values
    inner join companies
        on customer_values.company_id = companies.company_id
    inner join standing
        on customer_values.company_id = standing.company_id
        and customer_values.customer_id = standing.customer_id
    inner join customers
        on customer_values.company_id = customers.company_id
        and customer_values.customer_id = customers.customer_id
    left join newest_moves
        on customer_values.company_id = newest_moves.company_id
        and customer_values.customer_id = newest_moves.customer_id
        and customer_values.value_segment = newest_moves.value_segment

)

select * from final
order by company_id, customer_id
