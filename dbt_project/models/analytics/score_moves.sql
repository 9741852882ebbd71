{{ config(indexes=[{'columns': ['company_id', 'customer_id'], 'unique': true}]) }}

with

scores as (

    select * from {{ ref('int_churn_scores__current') }}

),

moves as (

    select * from {{ ref('stg_ml__score_moves') }}
    where task = 'churn'

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

features as (

    select * from {{ ref('feature_catalogue') }}

),

-- Scores that were held or replaced leave moves that nobody has seen: only those of what is published count.
published_moves as (

    select
        moves.*,
        scores.customer_id,
        scores.churn_probability,
        case
            when
                abs(moves.model) >= abs(moves.behaviour) and abs(moves.model) >= abs(moves.correction)
                then 'model'
            when abs(moves.correction) > abs(moves.behaviour) then 'correction'
            else 'behaviour'
        end as main_cause
    from scores
    inner join moves
        on scores.company_id = moves.company_id
        and scores.customer_id = moves.entity_id
        and scores.as_of_date = moves.as_of_date
        and scores.model_version = moves.model_version

),

final as (

    select
        published_moves.company_id,
        published_moves.customer_id,
        companies.company_name,
        published_moves.model_version,
        published_moves.previous_model_version,
        published_moves.main_cause,
        published_moves.main_feature,
        features.label as main_feature_label,
        case when published_moves.log_odds_change > 0 then 'The risk rose' else 'The risk fell' end
        || case
            when
                published_moves.main_cause = 'model'
                and published_moves.model_version = published_moves.previous_model_version
                then ', most of all by the level of a new month'
            when published_moves.main_cause = 'model' then ', most of all by a new model'
            when published_moves.main_cause = 'correction' then ', most of all since earlier data were corrected'
            else ', most of all by what the customer did'
        end
        || coalesce(': ' || features.label, '') as move_text,
        published_moves.churn_probability,
        published_moves.previous_probability,
        published_moves.log_odds_change,
        published_moves.behaviour,
        published_moves.model,
        published_moves.correction,
        published_moves.main_feature_change,
        published_moves.as_of_date,
        published_moves.previous_as_of_date
    from published_moves
    inner join companies
        on published_moves.company_id = companies.company_id
    left join features
        on published_moves.company_id = features.company_id
        and published_moves.main_feature = features.feature

)

select * from final
