-- No CTE: to the planner a view that has one is a fence, through which it cannot look records up by their index.
select
    company_id,
    send_id,
    campaign_id,
    customer_id,
    load_id,
    revenue,
    is_backfill,
    is_deleted,
    coalesce(is_control, false) as is_control,
    sent_at,
    opened_at,
    clicked_at,
    responded_at,
    unsubscribed_at,
    {{ made_at() }} as updated_at,
    {{ known_at() }}
from {{ source('raw', 'sends') }}
where {{ is_at_work() }}
