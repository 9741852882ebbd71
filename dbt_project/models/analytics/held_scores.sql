{{ config(indexes=[{'columns': ['company_id', 'task', 'as_of_date', 'customer_id'], 'unique': true}]) }}

with

flips as (

    select * from {{ ref('stg_ml__held_flips') }}

),

holds as (

    select * from {{ ref('stg_ml__publication_holds') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

final as (

    select
        flips.company_id,
        flips.task,
        flips.entity_id as customer_id,
        companies.company_name,
        flips.published_level,
        flips.held_level,
        flips.published_probability,
        flips.held_probability,
        holds.released_at is null as is_held,
        flips.as_of_date,
        holds.standing_date
    from flips
    inner join holds
        on flips.company_id = holds.company_id
        and flips.task = holds.task
        and flips.as_of_date = holds.as_of_date
    inner join companies
        on flips.company_id = companies.company_id

)

select * from final
