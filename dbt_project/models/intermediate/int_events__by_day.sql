{#- Knowledge in whole days: an as_of_date is a midnight in UTC, so that a moment lies before it exactly when its UTC
    date does. Events of one customer, day and name that became known on one day are one row. -#}
with

versions as (

    select * from {{ ref('stg_crm__event_versions') }}

),

versions_with_knowledge as (

    select
        *,
        {{ knowledge_interval('event_id') }}
    from versions

),

versions_by_date as (

    select
        company_id,
        customer_id,
        event_name,
        amount,
        {{ utc_date('occurred_at') }} as occurred_date,
        {{ utc_date('known_from') }} as known_from_date,
        {{ utc_date('attributes_known_from') }} as attributes_known_from_date,
        {{ utc_date('known_to') }} as known_to_date
    from versions_with_knowledge
    where not is_deleted and known_from < known_to

),

final as (

    select
        company_id,
        customer_id,
        event_name,
        count(*)::integer as events,
        sum(amount) as amount,
        occurred_date,
        known_from_date,
        attributes_known_from_date,
        known_to_date
    from versions_by_date
    where known_from_date < known_to_date
    group by
        company_id, customer_id, event_name, occurred_date, known_from_date, attributes_known_from_date, known_to_date

)

select * from final
