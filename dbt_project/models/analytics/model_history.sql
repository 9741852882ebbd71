{{ config(indexes=[{'columns': ['company_id', 'event_id'], 'unique': true}]) }}

with

trainings as (

    select * from {{ ref('stg_ml__training_runs') }}

),

promotions as (

    select * from {{ ref('stg_ml__promotions') }}

),

evaluations as (

    select * from {{ ref('stg_ml__evaluations') }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

-- Those of the candidate that became the model; a rule has none.
figures as (

    select
        trainings.training_run_id,
        max(evaluations.metric_value) filter (where evaluations.metric = 'auc') as auc,
        max(evaluations.metric_value) filter (where evaluations.metric = 'auc_low') as auc_low,
        max(evaluations.metric_value) filter (where evaluations.metric = 'auc_high') as auc_high,
        max(evaluations.metric_value) filter (where evaluations.metric = 'log_loss') as log_loss,
        max(evaluations.metric_value) filter (where evaluations.metric = 'average_precision') as average_precision
    from trainings
    inner join evaluations
        on trainings.training_run_id = evaluations.training_run_id
        and trainings.chosen_candidate = evaluations.candidate
    group by trainings.training_run_id

),

-- What a company reads ends before the words of an error, which speak of the installation.
decisions as (

    select
        promotions.*,
        case
            when promotions.event = 'replaced' then split_part(promotions.why, ': ', 1)
            else promotions.why
        end as decision
    from promotions

),

events as (

    select
        trainings.company_id,
        trainings.task,
        'training ' || trainings.training_run_id as event_id,
        'trained' as event,
        trainings.model_version,
        decisions.previous_model_version,
        decisions.decision,
        trainings.training_run_id,
        trainings.trained_at as happened_at
    from trainings
    left join decisions
        on trainings.company_id = decisions.company_id
        and trainings.training_run_id = decisions.training_run_id

    union all

    select
        decisions.company_id,
        decisions.task,
        'promotion ' || decisions.promotion_id as event_id,
        decisions.event,
        decisions.model_version,
        decisions.previous_model_version,
        decisions.decision,
        -- A person brings back what an earlier training made.
        coalesce(decisions.training_run_id, max(trainings.training_run_id)) as training_run_id,
        decisions.decided_at as happened_at
    from decisions
    left join trainings
        on decisions.company_id = trainings.company_id
        and decisions.task = trainings.task
        and decisions.model_version = trainings.model_version
    where decisions.event <> 'kept'
    group by
        decisions.company_id, decisions.task, decisions.promotion_id, decisions.event, decisions.model_version,
        decisions.previous_model_version, decisions.decision, decisions.training_run_id, decisions.decided_at

),

final as (

    select
        events.company_id,
        events.task,
        events.event_id,
        companies.company_name,
        events.event,
        events.model_version,
        events.previous_model_version,
        trainings.cause,
        trainings.status,
        trainings.evidence_level,
        events.decision,
        figures.auc,
        figures.auc_low,
        figures.auc_high,
        figures.log_loss,
        figures.average_precision,
        events.happened_at
    from events
    inner join companies
        on events.company_id = companies.company_id
    left join trainings
        on events.training_run_id = trainings.training_run_id
    left join figures
        on events.training_run_id = figures.training_run_id

)

select * from final
