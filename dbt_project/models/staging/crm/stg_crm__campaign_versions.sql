-- No CTE: to the planner a view that has one is a fence, through which it cannot look records up by their index.
select
    company_id,
    campaign_id,
    load_id,
    name as campaign_name,
    lower(channel) as channel,
    lower(kind) as kind,
    cost_per_send,
    discount_share,
    is_backfill,
    is_deleted,
    starts_at,
    ends_at,
    {{ made_at() }} as updated_at,
    {{ known_at() }}
from {{ source('raw', 'campaigns') }}
where {{ is_at_work() }}
