{{ config(indexes=[{'columns': ['company_id', 'month', 'from_level', 'to_level'], 'unique': true}]) }}

with

published as (

    select * from {{ ref('risk_movements_by_month') }}

),

replayed as (

    select * from {{ ref('int_churn_scores__replayed') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

-- A month that was not replayed yet ends the row: who moved over two months did not move in one.
replayed_months as (

    select distinct
        later.company_id,
        later.month
    from replayed as later
    inner join replayed as earlier
        on later.company_id = earlier.company_id
        and later.month - interval '1 month' = earlier.month

),

befores_and_afters as (

    select
        company_id,
        customer_id,
        month,
        null::text as from_level,
        risk_level as to_level
    from replayed

    union all

    select
        company_id,
        customer_id,
        (month + interval '1 month')::date as month,
        risk_level as from_level,
        null::text as to_level
    from replayed

),

movements as (

    select
        befores_and_afters.company_id,
        befores_and_afters.customer_id,
        befores_and_afters.month,
        coalesce(max(befores_and_afters.from_level), 'new') as from_level,
        coalesce(max(befores_and_afters.to_level), 'left') as to_level
    from befores_and_afters
    inner join replayed_months
        on befores_and_afters.company_id = replayed_months.company_id
        and befores_and_afters.month = replayed_months.month
    group by befores_and_afters.company_id, befores_and_afters.customer_id, befores_and_afters.month

),

final as (

    select
        company_id,
        month,
        company_name,
        from_level,
        to_level,
        customers,
        false as is_replayed
    from published

    union all

    select
        movements.company_id,
        movements.month,
        companies.company_name,
        movements.from_level,
        movements.to_level,
        count(*)::integer as customers,
        true as is_replayed
    from movements
    inner join companies
        on movements.company_id = companies.company_id
    group by
        movements.company_id,
        movements.month,
        companies.company_name,
        movements.from_level,
        movements.to_level

)

select * from final
