-- No CTE: to the planner a view that has one is a fence, through which it cannot look records up by their index.
select
    company_id,
    payment_id,
    customer_id,
    load_id,
    kind,
    lower(status) as status,
    upper(currency) as currency,
    method,
    amount,
    discount_amount,
    failed_attempts,
    is_backfill,
    is_deleted,
    issued_at,
    due_at,
    paid_at,
    failed_at,
    -- The version that says so is the only trace of when a payment was made void.
    case when lower(status) = 'void' then {{ made_at() }} end as voided_at,
    {{ made_at() }} as updated_at,
    {{ known_at() }}
from {{ source('raw', 'payments') }}
where {{ is_at_work() }}
