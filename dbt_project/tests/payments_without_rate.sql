-- Payments in a currency that the seed exchange_rates has no rate for on their day. They are in no sum of money.
{{ config(severity='warn') }}

select
    company_id,
    paid_in_currency,
    count(*) as payments_without_rate
from {{ ref('int_payments__current') }}
where
    amount is null
    and amount_as_paid is not null
group by company_id, paid_in_currency
