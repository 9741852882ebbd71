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
