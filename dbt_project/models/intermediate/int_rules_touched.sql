{#- How many records of each company every rule of docs/decisions.md touches, of those that are impossible or do not
    count. A rule is one entry: what is done, and the condition that touches a record. What a condition reads stands
    in the relation, a CTE below; the entity says which companies have the rule. -#}
{%- set judged = [
    {'relation': 'customers', 'entity': 'customers', 'rules': {
        'A test account is nowhere': 'is_test',
        'Cancelled before signup: never there': 'cancelled_at < created_at',
        'Signed up after now: there from the day after': 'created_at > now_at',
        'Contract ends before signup: no end is known': 'contract_end_at < created_at',
        'Price in a currency without a rate: none in that of the company': 'is_without_rate',
        'Attribute of another kind than declared: left out': 'has_attribute_of_another_kind',
    }},
    {'relation': 'tickets', 'entity': 'tickets', 'rules': {
        'Opened before the customer signed up: counts': 'opened_at < customer_created_at',
        'Of a customer that is not known: counts nowhere': 'customer_created_at is null',
        'Opened after now: counts from the day after': 'opened_at > now_at',
        'Answered before it was opened: answered then, in no known time': 'first_response_at < opened_at',
        'Resolved before it was opened: resolved then, in no known time': 'resolved_at < opened_at',
        'Reopened before it was opened: never reopened': 'reopened_at < opened_at',
        'Reopened before its resolution: reopened, and closed': 'reopened_at between opened_at and resolved_at',
        'Answered after more than the lookback: in as long as that': 'first_response_at > opened_at + lookback',
        'Resolved after more than the lookback: in as long as that': 'resolved_at > opened_at + lookback',
    }},
    {'relation': 'rejected_tickets', 'entity': 'tickets', 'rules': {
        'Satisfaction is not 1 to 5: rejected on landing': "position('satisfaction' in reason) > 0",
    }},
    {'relation': 'payments', 'entity': 'payments', 'rules': {
        'Issued or paid after now: counts from the day after': 'issued_at > now_at or paid_at > now_at',
        'Issued before the customer signed up: counts': 'issued_at < customer_created_at',
        'Of a customer that is not known: counts nowhere': 'customer_created_at is null',
        'Paid before it was issued: paid then, once issued': 'paid_at < issued_at',
        'Payment in a currency without a rate: counts, adds nothing': 'amount is null and amount_as_paid is not null',
        'Refund larger than all that was charged: counts': "kind = 'refund' and amount > coalesce(charged, 0)",
        'Discount larger than what is left: counts': 'discount_amount > amount_as_paid',
        'Charge over 1000 times the average of the company: counts': "kind = 'charge' and amount > 1000 * average_charge",
    }},
    {'relation': 'rejected_payments', 'entity': 'payments', 'rules': {
        'Negative amount: rejected on landing': "reason like '%amount % is less than %'",
    }},
    {'relation': 'events', 'entity': 'events', 'rules': {
        'Happened after now: counts from the day after': 'occurred_at > now_at',
        'Happened before the customer signed up: counts': 'occurred_at < customer_created_at',
        'Of a customer that is not known: counts nowhere': 'customer_created_at is null',
    }},
    {'relation': 'campaigns', 'entity': 'campaigns', 'rules': {
        'Ends before it starts: counts': 'ends_at < starts_at',
    }},
    {'relation': 'sends', 'entity': 'sends', 'rules': {
        'Sent after now: counts from the day after': 'sent_at > now_at',
        'Sent before the customer signed up: counts': 'sent_at < customer_created_at',
        'Of a customer that is not known: counts nowhere': 'customer_created_at is null',
        'Of a campaign that is not known: counts': 'not is_of_known_campaign',
        'Opened before it was sent: opened then': 'opened_at < sent_at',
        'Clicked before it was sent: clicked then': 'clicked_at < sent_at',
        'Answered before it was sent: never answered': 'responded_at < sent_at',
        'Sent after the customer unsubscribed: counts': 'not is_control and unsubscribed_at < sent_at',
        'Control that opened or clicked: counts nowhere': 'is_control and coalesce(opened_at, clicked_at) is not null',
    }},
    {'relation': 'rejected_sends', 'entity': 'sends', 'rules': {
        'Negative revenue: rejected on landing': "reason like '%revenue % is less than %'",
    }},
    {'relation': 'rejected_campaigns', 'entity': 'campaigns', 'rules': {
        'Negative cost: rejected on landing': "reason like '%cost_per_send % is less than %'",
        'Discount that is no share: rejected on landing': "reason like '%discount_share % is not between %'",
    }},
] -%}

with

companies as (

    select
        companies.company_id,
        companies.currency,
        companies.custom_attributes,
        clocks.now_at
    from {{ ref('stg_ops__companies') }} as companies
    inner join {{ ref('int_companies__clocks') }} as clocks
        on companies.company_id = clocks.company_id

),

company_entities as (

    select * from {{ ref('stg_ops__company_entities') }}

),

exchange_rates as (

    select * from {{ ref('int_exchange_rates') }}

),

customers as (

    select
        customers.*,
        companies.now_at,
        customers.monthly_price is not null
        and customers.currency <> companies.currency
        and not exists (
            select 1
            from exchange_rates
            where
                exchange_rates.company_id = customers.company_id
                and exchange_rates.from_currency = customers.currency
                and exchange_rates.valid_from <= companies.now_at::date
                and exchange_rates.valid_before > companies.now_at::date
        ) as is_without_rate,
        exists(
            select 1
            from jsonb_array_elements(companies.custom_attributes) as chosen (attribute)
            where not {{ is_of_its_kind('customers.attributes', 'chosen.attribute') }}
        ) as has_attribute_of_another_kind
    from {{ ref('stg_crm__customers') }} as customers
    inner join companies
        on customers.company_id = companies.company_id

),

tickets as (

    select
        tickets.*,
        customers.created_at as customer_created_at,
        companies.now_at,
        {{ days_long(var('lookback_days')) }} as lookback
    from {{ ref('stg_crm__tickets') }} as tickets
    inner join companies
        on tickets.company_id = companies.company_id
    left join customers
        on tickets.company_id = customers.company_id
        and tickets.customer_id = customers.customer_id

),

rejected_tickets as (

    select * from {{ ref('stg_crm__rejected_records') }}
    where entity = 'tickets'

),

payments as (

    select
        payments.*,
        customers.created_at as customer_created_at,
        companies.now_at,
        sum(payments.amount) filter (where payments.kind = 'charge') over (
            partition by payments.company_id, payments.customer_id
        ) as charged,
        avg(payments.amount) filter (where payments.kind = 'charge') over (
            partition by payments.company_id
        ) as average_charge
    from {{ ref('int_payments__current') }} as payments
    inner join companies
        on payments.company_id = companies.company_id
    left join customers
        on payments.company_id = customers.company_id
        and payments.customer_id = customers.customer_id
    where payments.voided_at is null

),

rejected_payments as (

    select * from {{ ref('stg_crm__rejected_records') }}
    where entity = 'payments'

),

events as (

    select
        events.*,
        customers.created_at as customer_created_at,
        companies.now_at
    from {{ ref('stg_crm__events') }} as events
    inner join companies
        on events.company_id = companies.company_id
    left join customers
        on events.company_id = customers.company_id
        and events.customer_id = customers.customer_id

),

campaigns as (

    select * from {{ ref('stg_crm__campaigns') }}

),

sends as (

    select
        sends.*,
        customers.created_at as customer_created_at,
        campaigns.campaign_id is not null as is_of_known_campaign,
        companies.now_at
    from {{ ref('stg_crm__sends') }} as sends
    inner join companies
        on sends.company_id = companies.company_id
    left join customers
        on sends.company_id = customers.company_id
        and sends.customer_id = customers.customer_id
    left join campaigns
        on sends.company_id = campaigns.company_id
        and sends.campaign_id = campaigns.campaign_id

),

rejected_sends as (

    select * from {{ ref('stg_crm__rejected_records') }}
    where entity = 'sends'

),

rejected_campaigns as (

    select * from {{ ref('stg_crm__rejected_records') }}
    where entity = 'campaigns'

),

{% for one in judged %}
{{ one.relation }}_counted as (

    select
        company_id,
        array[
            {%- for condition in one.rules.values() %}
            count(*) filter (where {{ condition }}){{ ',' if not loop.last }}
            {%- endfor %}
        ] as records_touched
    from {{ one.relation }}
    group by company_id

),

{% endfor -%}

unioned as (
    {% for one in judged %}
    select
        company_entities.company_id,
        company_entities.entity,
        {{ one.relation }}_counted.records_touched,
        array[
            {%- for rule in one.rules %}
            '{{ rule }}'{{ ',' if not loop.last }}
            {%- endfor %}
        ] as rules
    from company_entities
    left join {{ one.relation }}_counted
        on company_entities.company_id = {{ one.relation }}_counted.company_id
    where company_entities.entity = '{{ one.entity }}'
    {% if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}
),

final as (

    select
        unioned.company_id,
        touched.rule,
        unioned.entity,
        coalesce(touched.records_touched, 0) as records_touched
    from unioned
    cross join unnest(unioned.rules, unioned.records_touched) as touched (rule, records_touched)

)

select * from final
