{{ config(indexes=[{'columns': ['company_id', 'task', 'decile'], 'unique': true}]) }}

with

grades as (

    select * from {{ ref('stg_ml__track_record_grades') }}
    where as_of_month is null

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

final as (

    select
        grades.company_id,
        grades.task,
        companies.company_name,
        deciles.decile,
        deciles.scores,
        deciles.outcomes,
        deciles.lift,
        grades.is_replayed
    from grades
    inner join companies
        on grades.company_id = companies.company_id
    cross join lateral jsonb_to_recordset(grades.deciles) as deciles (
        decile integer,
        scores bigint,
        outcomes double precision,
        lift double precision
    )

)

select * from final
