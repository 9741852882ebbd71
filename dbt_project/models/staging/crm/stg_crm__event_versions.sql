-- No CTE: to the planner a view that has one is a fence, through which it cannot look records up by their index.
select
    company_id,
    event_id,
    customer_id,
    load_id,
    name as event_name,
    amount,
    attributes,
    is_backfill,
    is_deleted,
    occurred_at,
    {{ made_at() }} as updated_at,
    {{ known_at() }}
from {{ source('raw', 'events') }}
where {{ is_at_work() }}
