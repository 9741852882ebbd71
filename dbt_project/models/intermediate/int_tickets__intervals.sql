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
        opened_at,
        first_response_at,
        resolved_at,
        reopened_at,
        known_from,
        attributes_known_from,
        known_to
    from versions_with_knowledge
    where not is_deleted and known_from < known_to

)

select * from final
