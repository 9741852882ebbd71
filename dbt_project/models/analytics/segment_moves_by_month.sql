with

segment_moves as (

    select * from {{ ref('stg_ml__segment_moves') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

final as (

    select
        segment_moves.company_id,
        companies.company_name,
        date_trunc('month', segment_moves.moved_on)::date as moved_month,
        segment_moves.previous_segment,
        segment_moves.value_segment,
        segment_moves.cause,
        count(*) as moves,
        count(distinct segment_moves.customer_id) as customers
    from segment_moves
    inner join companies
        on segment_moves.company_id = companies.company_id
    group by
        segment_moves.company_id,
        companies.company_name,
        date_trunc('month', segment_moves.moved_on)::date,
        segment_moves.previous_segment,
        segment_moves.value_segment,
        segment_moves.cause

)

select * from final
