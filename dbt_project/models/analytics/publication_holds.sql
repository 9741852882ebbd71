{{ config(indexes=[{'columns': ['company_id', 'task', 'as_of_date'], 'unique': true}]) }}

with

holds as (

    select * from {{ ref('stg_ml__publication_holds') }}

),

reasons_of_holds as (

    select
        holds.company_id,
        holds.task,
        holds.as_of_date,
        string_agg(checks.failed ->> 'detail', '; ') as reasons
    from holds
    cross join lateral jsonb_array_elements(holds.reasons) as checks (failed)
    group by holds.company_id, holds.task, holds.as_of_date

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

final as (

    select
        holds.company_id,
        holds.task,
        companies.company_name,
        case
            when holds.release is not null then holds.release
            when holds.accepted_by is not null then 'accepted'
            else 'held'
        end as hold_status,
        reasons_of_holds.reasons,
        holds.customers_scored,
        holds.flips,
        holds.as_of_date,
        holds.standing_date,
        holds.held_at,
        holds.released_at
    from holds
    inner join companies
        on holds.company_id = companies.company_id
    left join reasons_of_holds
        on holds.company_id = reasons_of_holds.company_id
        and holds.task = reasons_of_holds.task
        and holds.as_of_date = reasons_of_holds.as_of_date

)

select * from final
