with

scores as (

    select * from {{ ref('stg_predictions__churn_scores') }}

),

publications as (

    select * from {{ ref('stg_predictions__churn_publications') }}

),

-- A month shows its last published day; adding its days up would count a customer many times.
last_publication_of_month as (

    select
        company_id,
        date_trunc('month', as_of_date)::date as month,
        max(as_of_date) as as_of_date
    from publications
    group by company_id, date_trunc('month', as_of_date)::date

),

numbered as (

    select
        *,
        row_number() over (partition by company_id order by month) as month_number
    from last_publication_of_month

),

final as (

    select
        scores.*,
        numbered.month,
        numbered.month_number
    from numbered
    inner join scores
        on numbered.company_id = scores.company_id
        and numbered.as_of_date = scores.as_of_date

)

select * from final
