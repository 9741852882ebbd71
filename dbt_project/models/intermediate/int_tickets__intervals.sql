with

versions as (

    select * from {{ ref('stg_crm__ticket_versions') }}

),

versions_with_knowledge as (

    select
        *,
        {{ knowledge_interval('ticket_id') }}
    from versions

),

final as (

    select
        company_id,
        ticket_id,
        customer_id,
        channel,
        priority,
        satisfaction,
        {{ hours_between('opened_at', 'first_response_at') }} as first_response_hours,
        {{ hours_between('opened_at', 'resolved_at') }} as resolution_hours,
        reopened_at > resolved_at as is_reopened_since_resolved,
        {{ utc_date('opened_at') }} as opened_date,
        {{ utc_date('first_response_at') }} as first_response_date,
        {{ utc_date('resolved_at') }} as resolved_date,
        {{ utc_date('reopened_at') }} as reopened_date,
        known_from,
        attributes_known_from,
        known_to
    from versions_with_knowledge
    where not is_deleted and known_from < known_to

)

select * from final
