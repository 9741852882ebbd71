{{ config(indexes=[{'columns': ['company_id', 'customer_id'], 'unique': true}]) }}

with

decisions as (

    select * from {{ ref('stg_predictions__decisions_current') }}

),

programme_plans as (

    select * from {{ ref('stg_ml__programme_plans') }}

),

newest_plans as (

    select distinct on (company_id, action) *
    from programme_plans
    order by company_id asc, action asc, decided_on desc

),

customers as (

    select * from {{ ref('stg_crm__customers') }}
    where not is_test

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

final as (

    select
        decisions.company_id,
        decisions.customer_id,
        companies.company_name,
        customers.customer_name,
        companies.currency,
        decisions.action,
        newest_plans.action_label,
        newest_plans.channel,
        newest_plans.action_owner,
        decisions.rests_on,
        decisions.reasons ->> 0 as main_reason,
        decisions.value_segment,
        decisions.net_value_low::numeric(38, 2) as net_value_low,
        decisions.net_value::numeric(38, 2) as net_value,
        decisions.net_value_high::numeric(38, 2) as net_value_high,
        decisions.cost::numeric(38, 2) as action_cost,
        decisions.propensity,
        decisions.is_control,
        decisions.decided_on,
        decisions.as_of_date
    from decisions
    inner join companies
        on decisions.company_id = companies.company_id
    inner join customers
        on decisions.company_id = customers.company_id
        and decisions.customer_id = customers.customer_id
    left join newest_plans
        on decisions.company_id = newest_plans.company_id
        and decisions.action = newest_plans.action

)

select * from final
order by company_id, customer_id
