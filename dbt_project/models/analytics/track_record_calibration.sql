{{ config(indexes=[{'columns': ['company_id', 'task', 'bin'], 'unique': true}]) }}

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
        bins.bin,
        bins.scores,
        bins.promised,
        bins.kept,
        bins.kept_low,
        bins.kept_high,
        grades.is_replayed
    from grades
    inner join companies
        on grades.company_id = companies.company_id
    cross join lateral jsonb_to_recordset(grades.bins) as bins (
        bin integer,
        scores bigint,
        promised double precision,
        kept double precision,
        kept_low double precision,
        kept_high double precision
    )

)

select * from final
