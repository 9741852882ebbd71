{{ config(indexes=[{'columns': ['company_id', 'task', 'as_of_month'], 'unique': true}]) }}

with

published as (

    select * from {{ ref('stg_ml__grades') }}
    where as_of_month is not null and segment = 'all' and model_version = 'all' and evidence_level = 'all'

),

replayed as (

    select * from {{ ref('stg_ml__track_record_grades') }}
    where as_of_month is not null

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

-- What was published is graded as that, and stands before what would have been.
unioned as (

    select
        company_id,
        task,
        scores,
        promised,
        kept,
        false as is_replayed,
        as_of_month
    from published

    union all

    select
        replayed.company_id,
        replayed.task,
        replayed.scores,
        replayed.promised,
        replayed.kept,
        true as is_replayed,
        replayed.as_of_month
    from replayed
    left join published
        on replayed.company_id = published.company_id
        and replayed.task = published.task
        and replayed.as_of_month = published.as_of_month
    where published.company_id is null

),

final as (

    select
        unioned.company_id,
        unioned.task,
        companies.company_name,
        unioned.scores,
        unioned.promised,
        unioned.kept,
        unioned.is_replayed,
        unioned.as_of_month
    from unioned
    inner join companies
        on unioned.company_id = companies.company_id

)

select * from final
