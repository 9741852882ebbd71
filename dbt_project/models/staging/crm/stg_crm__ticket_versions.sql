-- No CTE: to the planner a view that has one is a fence, through which it cannot look records up by their index.
select
    company_id,
    ticket_id,
    customer_id,
    load_id,
    subject,
    category,
    lower(priority) as priority,
    lower(status) as status,
    lower(channel) as channel,
    satisfaction,
    is_backfill,
    is_deleted,
    opened_at,
    first_response_at,
    resolved_at,
    reopened_at,
    {{ made_at() }} as updated_at,
    {{ known_at() }}
from {{ source('raw', 'tickets') }}
where {{ is_at_work() }}
