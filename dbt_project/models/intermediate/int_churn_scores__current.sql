with

scores as (

    select * from {{ ref('stg_predictions__churn_scores') }}

),

publications as (

    select * from {{ ref('stg_predictions__churn_publications') }}

),

newest_publications as (

    select
        company_id,
        max(as_of_date) as as_of_date
    from publications
    group by company_id

),

final as (

    select scores.*
    from scores
    inner join newest_publications
        on scores.company_id = newest_publications.company_id
        and scores.as_of_date = newest_publications.as_of_date

)

select * from final
