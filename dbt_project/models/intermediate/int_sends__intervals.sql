{{ kept_up_by_record(versions='stg_crm__send_versions', record_id='send_id') }}

with

versions as (

    select * from {{ ref('stg_crm__send_versions') }}
    where {{ is_touched('send_id') }}

),

versions_with_knowledge as (

    select
        *,
        {{ knowledge_interval('send_id') }}
    from versions

),

-- Impossible times: what was opened or clicked before it was sent was so when it was sent; a response before it is
-- none. When somebody unsubscribed is a fact of its own, which a source may repeat with every later send.
final as (

    select
        company_id,
        send_id,
        campaign_id,
        customer_id,
        revenue,
        is_control,
        {{ utc_date('sent_at') }} as sent_date,
        case
            when opened_at is not null then {{ utc_date('greatest(opened_at, sent_at)') }}
        end as opened_date,
        case
            when clicked_at is not null then {{ utc_date('greatest(clicked_at, sent_at)') }}
        end as clicked_date,
        case
            when responded_at >= sent_at then {{ utc_date('responded_at') }}
        end as responded_date,
        {{ utc_date('unsubscribed_at') }} as unsubscribed_date,
        known_from,
        attributes_known_from,
        known_to
    from versions_with_knowledge
    where not is_deleted and known_from < known_to

)

select * from final
-- A customer's records side by side, as the marts read them.
order by company_id, customer_id
